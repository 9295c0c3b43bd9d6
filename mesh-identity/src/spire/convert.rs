//! Between SPIRE's messages and our own types.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use mesh_core::name::{SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain};
use mesh_core::report::chain;
use rustls_pki_types::CertificateDer;

use crate::bundle::{Authority, Bundle, JwtAuthority};
use crate::jose::PublicKey;
use crate::proto::spire::api::types;
use crate::registry::{Entry, Selector};
use crate::svid;

pub(super) fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

pub(super) fn time(seconds: i64) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn life(seconds: i32) -> Option<Duration> {
    u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn short(life: Option<Duration>) -> i32 {
    life.map_or(0, |life| i32::try_from(life.as_secs()).unwrap_or(i32::MAX))
}

pub(super) fn id_message(id: &SpiffeId) -> types::Spiffeid {
    types::Spiffeid { trust_domain: id.trust_domain().to_string(), path: id.path().to_owned() }
}

pub(super) fn id(message: Option<&types::Spiffeid>) -> Result<SpiffeId, String> {
    let message = message.ok_or("a SPIFFE ID is absent")?;
    let text = format!("spiffe://{}{}", message.trust_domain, message.path);
    parse_spiffe_id(&text).map_err(|error| error.to_string())
}

pub(super) fn svid_message(id: &SpiffeId, chain: &[CertificateDer<'_>], hint: &str) -> types::X509svid {
    let leaf = chain.first().and_then(|leaf| svid::parse(leaf).ok());
    let expires_at = leaf.and_then(|leaf| svid::validity(&leaf).ok()).map_or(0, |(_, end)| seconds(end));
    let cert_chain = chain.iter().map(|der| der.to_vec()).collect();
    types::X509svid { cert_chain, id: Some(id_message(id)), expires_at, hint: hint.to_owned() }
}

pub(super) fn bundle_message(bundle: &Bundle) -> types::Bundle {
    let x509 = bundle.authorities().iter();
    let jwt = bundle.jwt_authorities().iter();
    types::Bundle {
        trust_domain: bundle.trust_domain().to_string(),
        x509_authorities: x509
            .map(|one| types::X509Certificate { asn1: one.certificate().to_vec(), tainted: false })
            .collect(),
        jwt_authorities: jwt
            .map(|one| types::JwtKey {
                public_key: one.key().to_der(),
                key_id: one.key_id().to_owned(),
                expires_at: 0,
                tainted: false,
            })
            .collect(),
        refresh_hint: bundle.refresh_hint().map_or(0, |hint| i64::try_from(hint.as_secs()).unwrap_or(i64::MAX)),
        sequence_number: bundle.sequence().unwrap_or_default(),
    }
}

/// Reads the name of a trust domain, which SPIRE writes bare or as a SPIFFE ID.
pub(super) fn trust_domain(text: &str) -> Result<TrustDomain, mesh_core::name::Error> {
    parse_trust_domain(text.strip_prefix("spiffe://").unwrap_or(text))
}

/// Reads a bundle. Keys that cannot be used are left out: one bad key never rejects a bundle. It may be empty: then its trust
/// domain revoked everything.
pub(super) fn bundle(message: &types::Bundle) -> Result<Bundle, mesh_core::name::Error> {
    let domain = trust_domain(&message.trust_domain)?;
    let skipped = |index: usize, error: &(dyn std::error::Error + 'static)| {
        tracing::warn!(trust_domain = %domain, index, error = chain(error), "a key of a bundle is not used");
    };
    let (mut authorities, mut jwt) = (Vec::new(), Vec::new());
    for (index, one) in message.x509_authorities.iter().enumerate() {
        match Authority::parse(CertificateDer::from(one.asn1.clone())) {
            Ok(authority) => authorities.push(authority),
            Err(error) => skipped(index, &error),
        }
    }
    for (index, key) in message.jwt_authorities.iter().enumerate().filter(|(_, key)| !key.key_id.is_empty()) {
        match PublicKey::from_der(&key.public_key) {
            Ok(public) => jwt.push(JwtAuthority::new(&key.key_id, public)),
            Err(error) => skipped(index, &error),
        }
    }
    let hint = u64::try_from(message.refresh_hint).ok().filter(|hint| *hint > 0).map(Duration::from_secs);
    let sequence = Some(message.sequence_number).filter(|number| *number > 0);
    Ok(Bundle::of(domain, authorities, jwt).with_sequence(sequence).with_refresh_hint(hint))
}

pub(super) fn entry_message(entry: &Entry) -> types::Entry {
    let selectors = entry.selectors.iter();
    types::Entry {
        id: entry.id.clone(),
        spiffe_id: Some(id_message(&entry.spiffe_id)),
        parent_id: Some(id_message(&entry.parent_id)),
        selectors: selectors
            .map(|one| types::Selector { r#type: one.kind.clone(), value: one.value.clone() })
            .collect(),
        x509_svid_ttl: short(entry.x509_life),
        jwt_svid_ttl: short(entry.jwt_life),
        federates_with: entry.federates_with.iter().map(ToString::to_string).collect(),
        admin: false,
        downstream: entry.downstream,
        expires_at: entry.expires.map_or(0, seconds),
        dns_names: entry.dns_names.clone(),
        revision_number: entry.revision,
        store_svid: false,
        hint: entry.hint.clone(),
        created_at: seconds(entry.created),
    }
}

pub(super) fn entry(message: &types::Entry) -> Result<Entry, String> {
    let selectors = message.selectors.iter().map(|one| Selector::new(&one.r#type, &*one.value));
    let mut federates_with = BTreeSet::new();
    for name in &message.federates_with {
        federates_with.insert(trust_domain(name).map_err(|error| error.to_string())?);
    }
    let (spiffe_id, parent_id) = (id(message.spiffe_id.as_ref())?, id(message.parent_id.as_ref())?);
    Ok(Entry {
        x509_life: life(message.x509_svid_ttl),
        jwt_life: life(message.jwt_svid_ttl),
        federates_with,
        dns_names: message.dns_names.clone(),
        hint: message.hint.clone(),
        downstream: message.downstream,
        expires: time(message.expires_at),
        revision: message.revision_number,
        created: time(message.created_at).unwrap_or(SystemTime::UNIX_EPOCH),
        ..Entry::new(&message.id, spiffe_id, parent_id, selectors)
    })
}

#[cfg(test)]
mod tests {
    use mesh_test_support::pki::Ca;

    use super::*;

    #[test]
    fn one_bad_key_rejects_no_bundle() {
        let x509 = |asn1: &[u8]| types::X509Certificate { asn1: asn1.to_vec(), tainted: false };
        let jwt =
            |key_id: &str| types::JwtKey { public_key: b"x".to_vec(), key_id: key_id.into(), ..Default::default() };
        let good = Ca::root("other.test").certificate;
        let message = types::Bundle {
            trust_domain: "spiffe://other.test".into(),
            x509_authorities: vec![x509(b"junk"), x509(&good), x509(b"")],
            jwt_authorities: vec![jwt("one"), jwt("")],
            ..Default::default()
        };
        let read = bundle(&message).unwrap();
        assert_eq!((read.authorities()[0].certificate(), read.authorities().len()), (&good, 1));
        assert_eq!((read.trust_domain().to_string().as_str(), read.jwt_authorities().len()), ("other.test", 0));
        let named = |trust_domain: &str| types::Bundle { trust_domain: trust_domain.into(), ..Default::default() };
        assert!(bundle(&named("other.test")).unwrap().authorities().is_empty());
        for bad in ["", "spiffe://", "spiffe://spiffe://other.test", "other.test/x", "Other.test"] {
            assert!(bundle(&named(bad)).is_err(), "{bad}");
        }
    }
}
