use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::balance::{self, ConnectionGuard, Outcome, Pick};
use mesh_core::filter::Connection;
use mesh_core::listener::TcpProxy;
use mesh_core::request::Request;
use mesh_core::route::{HashKey, HashPolicy, RequestHash};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::BoxError;
use super::limits::{idle, over};
use super::runtime::Shared;
use super::upstreams::{ClusterAtWork, ConnectError};
use crate::http::Transport;
use crate::relay::{AnyIo, Counts, relay};

/// Passes the bytes of a connection on to an endpoint, as Envoy's TCP proxy does.
pub(super) async fn serve<I>(
    io: I,
    connection: &Connection,
    proxy: &TcpProxy,
    shared: &Shared,
    drain: &CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = Instant::now();
    let (upstream, pick, _admitted) = match endpoint(connection, proxy, shared).await {
        Ok(connected) => connected,
        Err(error) => return log(connection, None, &Counts::default(), begun, Some(&error)),
    };
    let counts = Counts::default();
    let relayed = relay(AnyIo(io), AnyIo(upstream), &counts);
    let ended = tokio::select! {
        relayed = relayed => relayed.map_err(BoxError::from),
        () = idle(&counts, proxy.idle_timeout) => Err("nothing has moved for too long".into()),
        () = over(proxy.max_duration) => Err("the connection has lasted as long as it may".into()),
        () = drain.cancelled() => Err("the chain of filters is gone".into()),
    };
    log(connection, Some(pick.address()), &counts, begun, ended.as_ref().err());
    pick.finish(Outcome::OK, now());
}

/// A connection to an endpoint, which counts to the limits of its cluster until the guard is dropped.
type Connected = (Box<dyn Transport>, Pick, ConnectionGuard);

/// A connection to an endpoint, tried as often as the proxy says.
async fn endpoint(connection: &Connection, proxy: &TcpProxy, shared: &Shared) -> Result<Connected, BoxError> {
    let name = proxy.target.choose(fastrand::u64(..)).ok_or("no cluster has a share")?;
    let cluster = shared.clusters.get(name.as_str()).ok_or_else(|| format!("cluster `{name}` is not known"))?;
    let hash = proxy.hash_source_ip.then(|| hash_of(connection));
    let mut attempt = 0;
    loop {
        match connect(&cluster, connection.destination, hash.flatten(), attempt).await {
            Err(_) if attempt + 1 < proxy.max_connect_attempts => attempt += 1,
            connected => return connected,
        }
    }
}

/// As Envoy hashes the address of a client.
fn hash_of(connection: &Connection) -> Option<u64> {
    let (method, headers) = (http::Method::CONNECT, http::HeaderMap::new());
    let mut request = Request::new(&method, "", "", &headers);
    request.head.source = Some(connection.source.ip());
    RequestHash::new(&[HashPolicy { key: HashKey::Source, terminal: true }], &request, None, 0).value
}

fn log(connection: &Connection, to: Option<SocketAddr>, counts: &Counts, begun: Instant, error: Option<&BoxError>) {
    tracing::event!(
        target: "access",
        tracing::Level::INFO,
        src.addr = %connection.source,
        src.identity = connection.peer_uri(),
        dst.requested = %connection.destination,
        dst.addr = to.map(tracing::field::display),
        bytes_received = counts.sent(),
        bytes_sent = counts.received(),
        duration = ?begun.elapsed(),
        error = error.map(|error| tracing::field::display(mesh_core::report::chain(&**error))),
        "connection"
    );
}

async fn connect(
    cluster: &Arc<ClusterAtWork>,
    original: SocketAddr,
    hash: Option<u64>,
    attempt: u32,
) -> Result<Connected, BoxError> {
    let request = balance::Request { hash, attempt, original: Some(original), ..balance::Request::default() };
    let (mut pick, _) = cluster.upstream().pick(&request, &mut fastrand::Rng::new(), now())?;
    match cluster.connect(&pick).await {
        Ok((stream, admitted)) => Ok((stream, pick, admitted)),
        Err(error) => {
            // What was not tried says nothing of the endpoint.
            if matches!(error, ConnectError::Timeout | ConnectError::Unreachable(_)) {
                pick.report(Outcome::Unreachable, now());
            }
            Err(error.into())
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
