use std::time::Duration;

use mesh_core::name::SpiffeId;
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::request::RequestKey;
use super::signer::BACKDATE;
use super::{Authority, Error, request};
use crate::bundle::BundleSet;
use crate::clock::seconds;
use crate::jose;
use crate::svid::JwtSvid;
use crate::verify::{self, Audiences, Purpose};

/// Names that a certificate carries beside its SPIFFE ID. SPIFFE peers ignore them; others may verify by them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<std::net::IpAddr>,
}

impl Authority {
    /// Issues an SVID for `id` to the key of a PKCS#10 request in PEM. Gives the chain, leaf first, without the root.
    ///
    /// Who may have which identity is decided before; the request's own names decide nothing. The result is verified with
    /// the verifier that peers use before it leaves.
    ///
    /// # Errors
    /// [`Error`] for a request that is malformed, not signed by its own key, for a key that is not certified, for an
    /// identity outside the trust domain, or for a life that the rules refuse.
    pub fn issue(
        &self,
        request: &str,
        id: &SpiffeId,
        life: Option<Duration>,
        names: &Names,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        self.issuable(id)?;
        self.certify(&request::read_pem(request, Some(id))?, id, life, names)
    }

    /// As [`Authority::issue`], for a request in DER whose own names are not looked at: SPIRE's agents send their key so.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_to_key(
        &self,
        request: &[u8],
        id: &SpiffeId,
        life: Option<Duration>,
        names: &Names,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        self.issuable(id)?;
        self.certify(&request::read_der(request, None)?, id, life, names)
    }

    /// Issues an SVID for a node below the reserved path `/spire/agent`, which no workload can have. `request` is DER.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_to_node(
        &self,
        request: &[u8],
        id: &SpiffeId,
        life: Option<Duration>,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        if !id.is_member_of(&self.trust_domain) || !id.path().starts_with("/spire/agent/") {
            return Err(Error::Identity(id.to_string()));
        }
        self.certify(&request::read_der(request, None)?, id, life, &Names::default())
    }

    /// Issues an SVID for the server of this trust domain, `/spire/server`, to a source in this process.
    pub(crate) fn issue_to_server(
        &self,
        request: &str,
        id: &SpiffeId,
        life: Duration,
        names: &Names,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        if id.path() != "/spire/server" {
            return self.issue(request, id, Some(life), names);
        }
        self.certify(&request::read_pem(request, Some(id))?, id, Some(life), names)
    }

    fn issuable(&self, id: &SpiffeId) -> Result<(), Error> {
        let reserved = id.path() == "/spire" || id.path().starts_with("/spire/");
        if !id.is_member_of(&self.trust_domain) || id.path().is_empty() || reserved {
            return Err(Error::Identity(id.to_string()));
        }
        Ok(())
    }

    fn certify(
        &self,
        key: &RequestKey,
        id: &SpiffeId,
        life: Option<Duration>,
        names: &Names,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        if !id.is_member_of(&self.trust_domain) {
            return Err(Error::Identity(id.to_string()));
        }
        let state = self.state.load();
        let signer = &state.signing.current;
        if key.bits == rcgen::PublicKeyData::der_bytes(&signer.key) {
            return Err(Error::RequestKey("the authority's own".to_owned()));
        }
        let now = self.clock.now();
        let not_after = self.rules.not_after(life, now, signer.life.end)?;
        let leaf = signer.leaf(key, id, names, now - BACKDATE, not_after)?;

        let mut chain = vec![leaf];
        if !signer.self_signed {
            chain.extend(signer.chain.iter().cloned());
        }
        let bundles = BundleSet::default().with(std::sync::Arc::clone(&signer.roots));
        verify::peer(Some(&chain), &bundles, Purpose::Server, now).map_err(Error::Verify)?;
        Ok(chain)
    }

    /// Issues a JWT-SVID for `id` to an audience.
    ///
    /// # Errors
    /// [`Error`] for an identity outside the trust domain, without an audience, or for a life that the rules refuse.
    pub fn issue_jwt(&self, id: &SpiffeId, audience: &[String], life: Option<Duration>) -> Result<JwtSvid, Error> {
        self.issuable(id)?;
        let audiences = Audiences::new(audience.iter().cloned()).map_err(Error::Token)?;
        let state = self.state.load();
        let signer = &state.tokens.current;
        let now = self.clock.now();
        let asked = life.unwrap_or(self.rules.token_life);
        let not_after = self.rules.not_after(Some(asked), now, signer.life.end)?;
        let claims = json!({ "sub": id.to_string(), "aud": audience, "iat": seconds(now), "exp": seconds(not_after) });
        let token = jose::sign(&signer.key, &signer.key_id, &claims)
            .map_err(|_| Error::Crypto(rcgen::Error::RemoteKeyError))?;
        let bundles = BundleSet::default().with(self.bundle());
        verify::jwt(&token, &bundles, &audiences, now).map_err(Error::Token)
    }
}
