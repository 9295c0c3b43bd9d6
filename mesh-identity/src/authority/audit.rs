//! One line for each certificate issued or refused, under the target `mesh_identity::audit`.

use std::fmt::Display;

use mesh_core::name::SpiffeId;
use rustls_pki_types::CertificateDer;

use crate::bundle::subject_key_id;
use crate::hex::hex;
use crate::svid;

/// A certificate was issued.
pub(crate) fn issued(method: &'static str, caller: &str, id: &SpiffeId, chain: &[CertificateDer<'_>]) {
    let Some(leaf) = chain.first().and_then(|leaf| svid::parse(leaf).ok()) else { return };
    tracing::info!(
        target: "mesh_identity::audit",
        method,
        caller,
        identity = %id,
        serial = hex(leaf.raw_serial()),
        key = subject_key_id(&leaf).map(|key| hex(&key)),
        not_after = leaf.validity().not_after.timestamp(),
        "certificate issued"
    );
}

/// A certificate was refused.
pub(crate) fn refused(method: &'static str, id: &SpiffeId, reason: &dyn Display) {
    tracing::warn!(target: "mesh_identity::audit", method, identity = %id, %reason, "certificate not issued");
}
