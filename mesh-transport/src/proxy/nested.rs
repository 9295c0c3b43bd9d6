//! A tunnel within a tunnel: to a workload of another network, through that network's gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderMap;
use mesh_core::name::SpiffeId;
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_identity::verify::Purpose;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::tunnels::End;
use crate::hbone::client::within;
use crate::hbone::judged::Judged;
use crate::hbone::limits::RESPONSE_TIMEOUT;
use crate::hbone::pool::{Key, Pool, Slot, Tunnelled};
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

/// What the CONNECT requests of both tunnels carry.
#[derive(Debug, Clone, Default)]
pub struct NestedHeaders {
    /// The request to the gateway.
    pub outer: ConnectHeaders,
    /// The request to the far end.
    pub inner: ConnectHeaders,
}

/// Opens both tunnels, the outer one over the connections of `pool`.
pub(super) async fn open(
    pool: &Pool,
    identity: &Identity,
    to: SocketAddr,
    gateway: &End,
    end: &End,
    headers: &NestedHeaders,
    tasks: &Tasks,
) -> Result<Nested, Arc<Error>> {
    let key = Key { source: identity.id().clone(), expected: gateway.expected.clone(), to };
    let outer = pool.connect(identity, key, &gateway.authority, &headers.outer).await?;
    within_outer(outer, identity, end, &headers.inner, to, tasks).await.map_err(Arc::new)
}

async fn within_outer(
    outer: Tunnelled,
    identity: &Identity,
    end: &End,
    headers: &ConnectHeaders,
    to: SocketAddr,
    tasks: &Tasks,
) -> Result<Nested, Error> {
    let Tunnelled { stream, slot, chain: outer, .. } = outer;
    let bundles = identity.bundles().snapshot();
    let Secured { client, driver, peer, chain } = secure(identity, end.expected.clone(), to, stream).await?;
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tasks.spawn_until(ended, async move {
        if let Err(error) = driver.run().await {
            tracing::debug!(%to, %error, "inner HBONE connection ended");
        }
    });
    let answer = within(RESPONSE_TIMEOUT, to, "inner CONNECT request", client.connect(&end.authority, headers));
    let (stream, headers) = answer.await??;
    let inner = Judged::new(chain, Purpose::Server, bundles);
    Ok(Nested { stream, headers, peer, outer, inner, held: Held { _driver: guard, slot } })
}
