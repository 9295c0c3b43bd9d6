use std::io;
use std::sync::Arc;

use mesh_core::balance::{self, Outcome, Pick};
use mesh_core::listener::TcpProxy;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::runtime::Shared;
use super::upstreams::ClusterAtWork;
use crate::http::Transport;
use crate::relay::{AnyIo, Counts, relay};

/// Passes the bytes of a connection on to an endpoint, as Envoy's TCP proxy does.
pub(super) async fn serve<I>(io: I, source: std::net::IpAddr, proxy: &TcpProxy, shared: &Shared) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let none = || io::Error::from(io::ErrorKind::NotFound);
    let name = proxy.target.choose(fastrand::u64(..)).ok_or_else(none)?;
    let cluster = shared.clusters.get(name.as_str()).ok_or_else(none)?;
    let hash = proxy.hash_source_ip.then(|| mesh_core::route::hash_of_address(source));
    let mut attempt = 0;
    let (upstream, pick) = loop {
        let connected = connect(&cluster, hash, attempt).await;
        attempt += 1;
        match connected {
            Ok(connected) => break connected,
            Err(_) if attempt < proxy.max_connect_attempts => {}
            Err(error) => return Err(error),
        }
    };
    let counts = Arc::new(Counts::default());
    let relayed = relay(AnyIo::new(io), AnyIo::new(upstream), &counts);
    let idle = idle(&counts, proxy.idle_timeout);
    let over = async {
        match proxy.max_duration {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        relayed = relayed => relayed,
        () = idle => Ok(()),
        () = over => Ok(()),
    };
    pick.finish(Outcome::OK, now());
    ended
}

async fn connect(
    cluster: &Arc<ClusterAtWork>,
    hash: Option<u64>,
    attempt: u32,
) -> io::Result<(Box<dyn Transport>, Pick)> {
    let request = balance::Request { hash, attempt, ..balance::Request::default() };
    let picked = cluster.upstream().pick(&request, &mut fastrand::Rng::new(), now());
    let (mut pick, _) = picked.map_err(io::Error::other)?;
    match cluster.connect(&pick).await {
        Ok(stream) => Ok((stream, pick)),
        Err(error) => {
            pick.report(Outcome::Unreachable, now());
            Err(io::Error::other(error))
        }
    }
}

/// Ends when nothing has moved for this long.
async fn idle(counts: &Counts, limit: Option<std::time::Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    let moved = || (counts.sent(), counts.received());
    let mut before = moved();
    let mut since = Instant::now();
    loop {
        tokio::time::sleep_until(since + limit).await;
        let after = moved();
        if after == before {
            return;
        }
        before = after;
        since = Instant::now();
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
