use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::name::SpiffeId;
use rustls_pki_types::CertificateDer;
use tonic::{Code, Status};

use super::node::{Inner, Node, request};
use crate::bundle::{Bundle, BundleSet};
use crate::proto::spire::api::server::svid::v1::svid_client::SvidClient;
use crate::proto::spire::api::server::svid::v1::{BatchNewX509svidRequest, NewJwtsvidRequest, NewX509svidParams};
use crate::registry::Entry;
use crate::source::{self, Fetch, FetchToken, Issued, JwtSource, SvidSource};
use crate::svid::{KeyKind, X509Svid, certificate_request};
use crate::verify::{self, Audiences, Purpose};

/// X.509- and JWT-SVIDs for the entries of a node, issued by the server that it joined.
#[derive(Clone)]
pub struct SpireSource {
    inner: Arc<Inner>,
}

impl Node {
    /// The identities of its workloads, as a source.
    #[must_use]
    pub fn source(&self) -> SpireSource {
        SpireSource { inner: Arc::clone(&self.inner) }
    }
}

impl SvidSource for SpireSource {
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        Box::pin(self.inner.svid(id))
    }
}

impl JwtSource for SpireSource {
    fn fetch_token<'a>(&'a self, id: &'a SpiffeId, audience: &'a [String], _life: Option<Duration>) -> FetchToken<'a> {
        Box::pin(async move {
            let inner = &self.inner;
            let entry = inner.entry(id)?;
            let asked = NewJwtsvidRequest { entry_id: entry.id.clone(), audience: audience.to_vec() };
            let answer = SvidClient::new(inner.channel()).new_jwtsvid(request(asked)).await;
            let issuer = |status: Status| source::Error::Issuer { id: id.to_string(), status: Box::new(status) };
            let token = answer.map_err(issuer)?.into_inner().svid.unwrap_or_default().token;
            let audiences = Audiences::new(audience.iter().cloned()).map_err(source::Error::Jwt)?;
            let own = inner.own_bundle().ok_or_else(|| source::Error::NoEntry(id.to_string()))?;
            let only = BundleSet::default().with(own);
            let now: SystemTime = inner.joining.clock.now();
            let token = verify::jwt(&token, &only, &audiences, now).map_err(source::Error::Jwt)?;
            if token.id() != id {
                return Err(source::Error::OtherIdentity { asked: id.to_string(), got: token.id().to_string() });
            }
            Ok(token)
        })
    }
}

impl fmt::Debug for SpireSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpireSource").field("node", &self.inner.identity.id().to_string()).finish()
    }
}

impl Inner {
    fn entry(&self, id: &SpiffeId) -> Result<Arc<Entry>, source::Error> {
        let entries = self.live_entries.load();
        let entry = entries.as_ref().and_then(|entries| entries.of(id));
        entry.cloned().ok_or_else(|| source::Error::NoEntry(id.to_string()))
    }

    fn own_bundle(&self) -> Option<Arc<Bundle>> {
        self.joining.trust.bundles().load().trusted(&self.joining.trust_domain).map(|own| Arc::clone(&own.bundle))
    }

    async fn svid(&self, id: &SpiffeId) -> Result<Issued, source::Error> {
        let entry = self.entry(id)?;
        let (key, csr) = certificate_request(id, KeyKind::P256)
            .map_err(|source| source::Error::Request { id: id.to_string(), source })?;
        let asked = BatchNewX509svidRequest { params: vec![NewX509svidParams { entry_id: entry.id.clone(), csr }] };
        let issuer = |status: Status| source::Error::Issuer { id: id.to_string(), status: Box::new(status) };
        let answer = SvidClient::new(self.channel()).batch_new_x509svid(request(asked)).await.map_err(issuer)?;
        let first = answer.into_inner().results.into_iter().next().unwrap_or_default();
        let verdict = first.status.unwrap_or_default();
        if verdict.code != 0 {
            return Err(issuer(Status::new(Code::from_i32(verdict.code), verdict.message)));
        }
        let malformed = |source| source::Error::Svid { id: id.to_string(), source };
        let certificates = first.svid.unwrap_or_default().cert_chain.into_iter().map(CertificateDer::from).collect();
        let svid = X509Svid::parse(certificates, key).map_err(malformed)?;
        if svid.id() != id {
            return Err(source::Error::OtherIdentity { asked: id.to_string(), got: svid.id().to_string() });
        }
        let bundle = self.own_bundle().ok_or_else(|| source::Error::NoEntry(id.to_string()))?;
        let only = BundleSet::default().with(Arc::clone(&bundle));
        let now = self.joining.clock.now();
        verify::peer(Some(svid.chain()), &only, Purpose::Server, now).map_err(source::Error::Verify)?;
        Ok(Issued { svid, bundle: Bundle::clone(&bundle) })
    }
}
