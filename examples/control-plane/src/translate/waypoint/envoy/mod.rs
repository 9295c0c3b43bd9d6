//! What a real Envoy needs around `main_internal`, as Istio has it, but for what only Istio's build of Envoy knows.
//!
//! ```text
//! node proxy ══HBONE══► listener connect_terminate :15008 ─► cluster main_internal ─► listener main_internal
//!            ◄══HBONE══ cluster connect_originate ◄─ listener connect_originate ◄─ clusters inbound-vip|…, encap
//! ```
//!
//! Who calls is known where a tunnel ends only. It goes along as filter state, `io.istio.peer_principal`, hashable, so that
//! callers do not share a connection within Envoy; so do the address the tunnel is for and the client's own, from which
//! `main_internal` learns where the stream leads and where it comes from.
//!
//! The bootstrap brings what no resource can: the extension `envoy.bootstrap.internal_listener`, and the cluster `sds-grpc`,
//! which serves the secrets `default` (its certificate) and `ROOTCA` (whom it trusts) as Istio's and SPIRE's agents do.
//!
//! | not as we do it ourselves | why |
//! | --- | --- |
//! | the roots of the machine are a file, where the images of Envoy have them | Envoy knows of none |
//! | at the end of a tunnel anybody of the trust domain is accepted | Envoy has no names to expect per endpoint where it finds out the address by itself |

mod listener;
mod origination;
mod state;
mod tls;
mod upstream;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use mesh_core::name::TrustDomain;
use prost::Message;

pub(in crate::translate) use self::listener::any;
pub(in crate::translate) use self::origination::read;
use super::listener::{DIRECT_HTTP, DIRECT_TCP, MAIN};

/// Resources by name.
pub(crate) type Named = Vec<(String, Vec<u8>)>;

/// Prepares a cluster of `main_internal`.
pub(super) fn cluster(bytes: Vec<u8>) -> Vec<u8> {
    let Ok(mut cluster) = Cluster::decode(bytes.as_slice()) else { return bytes };
    if origination::adapt(&mut cluster) { cluster.encode_to_vec() } else { bytes }
}

/// Prepares `main_internal`.
pub(super) fn listener(bytes: Vec<u8>) -> Vec<u8> {
    match Listener::decode(bytes.as_slice()) {
        Ok(listener) if listener.name == MAIN => prepared(listener).encode_to_vec(),
        _ => bytes,
    }
}

/// The clusters and listeners that stand around it.
pub(super) fn around(trust_domain: &TrustDomain) -> (Named, Named) {
    let listeners = [listener::connect_terminate(trust_domain), listener::connect_originate()];
    let clusters = [upstream::main_internal(), upstream::connect_originate(trust_domain)];
    let listeners = listeners.map(|listener| (listener.name.clone(), listener.encode_to_vec()));
    let clusters = clusters.map(|cluster| (cluster.name.clone(), cluster.encode_to_vec()));
    (clusters.into(), listeners.into())
}

/// Those that stand beside the listeners of a Gateway where traffic enters: the way into tunnels.
pub(super) fn beside_gateway(trust_domain: &TrustDomain) -> (Named, Named) {
    let (listener, cluster) = (listener::connect_originate(), upstream::connect_originate(trust_domain));
    let clusters = vec![(cluster.name.clone(), cluster.encode_to_vec())];
    (clusters, vec![(listener.name.clone(), listener.encode_to_vec())])
}

/// What is addressed to a workload says again where it leads: what came with the stream counts for one connection only.
fn prepared(mut listener: Listener) -> Listener {
    let direct = listener
        .filter_chains
        .iter_mut()
        .filter(|chain| chain.name.starts_with(DIRECT_HTTP) || chain.name.starts_with(DIRECT_TCP));
    for chain in direct {
        chain.filters.insert(0, listener::keep_destination());
    }
    listener
}
