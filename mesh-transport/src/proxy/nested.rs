//! A tunnel within a tunnel: to a workload of another network, through that network's gateway.

use std::sync::Arc;

use http::HeaderMap;
use mesh_core::name::SpiffeId;
use mesh_core::resolve::InnerTunnel;
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_identity::verify::Purpose;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::hbone::client::within;
use crate::hbone::judged::Judged;
use crate::hbone::limits::RESPONSE_TIMEOUT;
use crate::hbone::pool::{Slot, Tunnelled};
use crate::hbone::secure::{Secured, secure};
use crate::hbone::{ConnectHeaders, Error, HboneStream};

/// Both tunnels of one application connection. The inner one is not shared: the gateway chooses an endpoint per outer
/// stream, and shared tunnels would all lead to the one that was chosen first.
#[derive(Debug)]
pub(super) struct Nested {
    pub(super) stream: HboneStream,
    pub(super) headers: HeaderMap,
    pub(super) peer: SpiffeId,
    /// The certificates of the gateway.
    pub(super) outer: Arc<[CertificateDer<'static>]>,
    /// Those of the far end.
    pub(super) inner: Judged,
    pub(super) held: Held,
}

/// What must live as long as the inner stream.
#[derive(Debug)]
pub(super) struct Held {
    /// Ends the inner connection when dropped.
    _driver: DropGuard,
    /// The outer stream's place.
    pub(super) slot: Slot,
}

/// Opens the inner tunnel in an outer one that stands.
pub(super) async fn connect(
    outer: Tunnelled,
    identity: &Identity,
    inner: &InnerTunnel,
    headers: &ConnectHeaders,
    to: std::net::SocketAddr,
    tasks: &Tasks,
) -> Result<Nested, Error> {
    let Tunnelled { stream, slot, chain: outer, .. } = outer;
    let bundles = identity.bundles().snapshot();
    let Secured { client, driver, peer, chain } = secure(identity, inner.expected.clone(), to, stream).await?;
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tasks.spawn_until(ended, async move {
        if let Err(error) = driver.run().await {
            tracing::debug!(%to, %error, "inner HBONE connection ended");
        }
    });
    let answer = within(RESPONSE_TIMEOUT, to, "inner CONNECT request", client.connect(&inner.authority, headers));
    let (stream, headers) = answer.await??;
    let inner = Judged::new(chain, Purpose::Server, bundles);
    Ok(Nested { stream, headers, peer, outer, inner, held: Held { _driver: guard, slot } })
}
