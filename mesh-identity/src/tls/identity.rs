use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::live::Live;
use mesh_core::name::SpiffeId;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ServerConfig};

use super::{Error, PostQuantum, SvidState, config};
use crate::bundle::BundleSet;
use crate::clock::Clock;
use crate::crypto::provider_with;
use crate::svid::X509Svid;
use crate::verify::Expected;

/// An identity of our own as it is now: its newest SVID, and whom it trusts. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    id: SpiffeId,
    svid: Live<SvidState>,
    bundles: Live<BundleSet>,
    clock: Arc<dyn Clock>,
    post_quantum: PostQuantum,
}

impl Identity {
    /// An identity over a live SVID and live bundles.
    #[must_use]
    pub fn new(id: SpiffeId, svid: Live<SvidState>, bundles: Live<BundleSet>, clock: Arc<dyn Clock>) -> Self {
        Self { id, svid, bundles, clock, post_quantum: PostQuantum::default() }
    }

    /// How keys are exchanged in configurations that are made from here on.
    #[must_use]
    pub fn with_post_quantum(self, post_quantum: PostQuantum) -> Self {
        Self { post_quantum, ..self }
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        provider_with(self.post_quantum)
    }

    /// Who this is.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The SVID to present now; `None` when there is none or it has expired.
    #[must_use]
    pub fn svid(&self) -> Option<Arc<X509Svid>> {
        let now = self.now();
        self.svid.load().svid.as_ref().filter(|svid| now < svid.not_after()).map(Arc::clone)
    }

    /// The state of the SVID, to be loaded or awaited.
    #[must_use]
    pub fn state(&self) -> &Live<SvidState> {
        &self.svid
    }

    /// Whom it trusts.
    #[must_use]
    pub fn bundles(&self) -> &Live<BundleSet> {
        &self.bundles
    }

    /// The time by which certificates are judged.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// A client configuration that presents this identity and accepts only `expected` servers.
    ///
    /// # Errors
    /// [`Error`] when rustls refuses the settings.
    pub fn client_config(&self, expected: Expected, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
        config::client(self, expected, alpn)
    }

    /// A server configuration that presents this identity and demands a client certificate of a trusted trust domain.
    ///
    /// # Errors
    /// [`Error`] when rustls refuses the settings.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, Error> {
        config::server(self, alpn)
    }

    /// As [`Identity::server_config`], and lets in who presents no certificate: for services that some callers use before
    /// they have an identity.
    ///
    /// # Errors
    /// [`Error`] when rustls refuses the settings.
    pub fn server_config_with_optional_client_certificates(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, Error> {
        config::server_with_optional_client_certificates(self, alpn)
    }

    /// A server configuration that presents this identity and asks for no client certificate: for services whose
    /// callers prove themselves by other means, such as a bearer token.
    ///
    /// # Errors
    /// [`Error`] when rustls refuses the settings.
    pub fn server_config_without_client_certificates(&self, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, Error> {
        config::server_without_client_certificates(self, alpn)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("id", &self.id.to_string()).field("svid", &self.svid).finish_non_exhaustive()
    }
}
