//! What a caller may see now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_core::name::TrustDomain;
use tonic::{Request, Status};

use super::SECURITY_HEADER;
use super::listen::Caller;
use super::peer::Peer;
use super::server::Parts;
use crate::bundle::{Bundle, BundleSet};
use crate::proto::workload::{JwtBundlesResponse, X509BundlesResponse, X509svid, X509svidResponse};
use crate::registry::{Entry, Selector};
use crate::tls::Identity;

/// A process that connected, and what was found of it.
#[derive(Debug, Clone)]
pub(super) struct Attested {
    peer: Peer,
    selectors: Arc<BTreeSet<Selector>>,
}

/// Who makes a call, by what the kernel said when it connected.
pub(super) fn caller<T>(request: &Request<T>) -> Result<(&Caller, &Peer), Status> {
    let caller = request.extensions().get::<Caller>().and_then(|caller| Some((caller, caller.peer()?)));
    caller.ok_or_else(|| Status::permission_denied("the calling process cannot be identified"))
}

/// Refuses a request without the security header (SPIFFE Workload Endpoint sections 3 and 6).
pub(super) fn security_header<T>(request: &Request<T>) -> Result<(), Status> {
    let mut values = request.metadata().get_all(SECURITY_HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value == "true" => Ok(()),
        _ => Err(Status::invalid_argument("security header missing from request")),
    }
}

impl Parts {
    /// Finds out what a caller is, once for each connection.
    pub(super) async fn attest(&self, caller: &Caller, peer: &Peer) -> Result<Attested, Status> {
        let failed = || Status::unavailable("the calling process could not be attested");
        let look = async || {
            let (attestor, asked) = (Arc::clone(&self.attestor), peer.clone());
            // It reads files of /proc, and the program itself where that is asked for.
            let found = tokio::task::spawn_blocking(move || attestor.selectors(&asked)).await;
            found.map_err(|_| failed())?.map(Arc::new).map_err(|error| {
                tracing::warn!(%error, "caller not attested");
                failed()
            })
        };
        let selectors = caller.selectors().get_or_try_init(look).await?;
        Ok(Attested { peer: peer.clone(), selectors: Arc::clone(selectors) })
    }

    /// The entries of a caller. `PERMISSION_DENIED` only when it is certain that it has none.
    pub(super) fn entries(&self, caller: &Attested) -> Result<Vec<Arc<Entry>>, Status> {
        if !caller.peer.is_alive() {
            return Err(Status::permission_denied("the process that connected ended"));
        }
        let all = self.entries.load();
        let Some(all) = &*all else { return Err(Status::unavailable("the entries are not known yet")) };
        let entries = all.matching(&caller.selectors, self.clock.now());
        if entries.is_empty() {
            return Err(Status::permission_denied("no identity issued"));
        }
        Ok(entries)
    }

    /// The identities behind entries, each with an SVID.
    pub(super) async fn identities(&self, entries: &[Arc<Entry>]) -> Result<Vec<Identity>, Status> {
        let mut identities = Vec::with_capacity(entries.len());
        for entry in entries {
            self.identities.prefetch(&entry.spiffe_id);
        }
        for entry in entries {
            let identity = self.identities.identity(&entry.spiffe_id).await;
            identities.push(identity.map_err(|error| {
                tracing::warn!(identity = %entry.spiffe_id, error = mesh_core::report::chain(&*error), "no SVID for a workload");
                Status::unavailable("the issuer cannot be reached")
            })?);
        }
        Ok(identities)
    }

    /// Own and federated bundles of entries. A foreign one that does not count any more is left out.
    fn bundles(&self, entries: &[Arc<Entry>]) -> BTreeMap<TrustDomain, Arc<Bundle>> {
        let set = self.bundles.load();
        let now = self.clock.now();
        let own = entries.iter().map(|entry| entry.spiffe_id.trust_domain());
        let domains: BTreeSet<_> = own.chain(entries.iter().flat_map(|entry| &entry.federates_with)).collect();
        let fresh = |domain: &&TrustDomain| -> Option<Arc<Bundle>> {
            let trusted = set.trusted(domain)?;
            trusted.until.is_none_or(|until| now <= until).then(|| Arc::clone(&trusted.bundle))
        };
        domains.into_iter().filter_map(|domain| Some((domain.clone(), fresh(&domain)?))).collect()
    }

    /// The bundles by which a caller verifies tokens.
    pub(super) fn bundle_set(&self, entries: &[Arc<Entry>]) -> BundleSet {
        self.bundles(entries).into_values().collect()
    }

    pub(super) fn x509(&self, entries: &[Arc<Entry>], identities: &[Identity]) -> Result<X509svidResponse, Status> {
        let bundles = self.bundles(entries);
        let mut hints = BTreeSet::new();
        let mut svids = Vec::with_capacity(entries.len());
        for (entry, identity) in entries.iter().zip(identities) {
            // Two of one hint cannot be told apart: the older entry has it.
            if !entry.hint.is_empty() && !hints.insert(&entry.hint) {
                continue;
            }
            let svid = identity.svid().ok_or_else(|| Status::unavailable("the SVID ended and is not renewed yet"))?;
            let own = bundles.get(svid.id().trust_domain()).filter(|bundle| !bundle.authorities().is_empty());
            let own = own.ok_or_else(|| Status::unavailable("the bundle of the trust domain is not known yet"))?;
            svids.push(X509svid {
                spiffe_id: svid.id().to_string(),
                x509_svid: svid.chain().iter().flat_map(|der| der.as_ref()).copied().collect(),
                x509_svid_key: svid.key().secret_der().to_vec(),
                bundle: own.to_der(),
                hint: entry.hint.clone(),
            });
        }
        let own: BTreeSet<_> = entries.iter().map(|entry| entry.spiffe_id.trust_domain()).collect();
        let federated = bundles.iter().filter(|(domain, _)| !own.contains(domain));
        Ok(X509svidResponse { svids, crl: self.lists(), federated_bundles: encoded(federated) })
    }

    pub(super) fn x509_bundles(&self, entries: &[Arc<Entry>]) -> X509BundlesResponse {
        X509BundlesResponse { crl: self.lists(), bundles: encoded(self.bundles(entries).iter()) }
    }

    pub(super) fn jwt_bundles(&self, entries: &[Arc<Entry>]) -> JwtBundlesResponse {
        let bundles = self.bundles(entries);
        let bundles = bundles.iter().map(|(domain, bundle)| (map_key(domain), bundle.to_jwks().into_bytes())).collect();
        JwtBundlesResponse { bundles }
    }

    fn lists(&self) -> Vec<Vec<u8>> {
        self.bundles.load().revocations().encoded().map(<[u8]>::to_vec).collect()
    }
}

/// Bundles as concatenated DER. One without X.509 authorities is left out: java-spiffe refuses a whole message for it.
fn encoded<'a>(bundles: impl Iterator<Item = (&'a TrustDomain, &'a Arc<Bundle>)>) -> BTreeMap<String, Vec<u8>> {
    bundles
        .filter(|(_, bundle)| !bundle.authorities().is_empty())
        .map(|(domain, bundle)| (map_key(domain), bundle.to_der()))
        .collect()
}

fn map_key(domain: &TrustDomain) -> String {
    format!("spiffe://{domain}")
}
