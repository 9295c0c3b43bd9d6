use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_identity::task::Tasks;
use tokio::time::sleep;

use super::{Drain, Inbound, Inputs, LocalWorkload, Outbound, Passthrough, WayIn};
use crate::hbone::pool::{Pool, TlsDialer};
use crate::socket::{Listener, Sockets};

/// Pause before a certificate is asked for again.
const RETRY: Duration = Duration::from_millis(500);

/// The ports of a captured workload; those of Istio by default.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ways {
    /// Connections out of it, redirected by the kernel.
    pub outbound: u16,
    /// Plaintext into it, redirected by the kernel.
    pub inbound_plaintext: u16,
    /// Tunnels into it.
    pub inbound_tunnel: u16,
    /// SOCKS5, on loopback; none by default.
    pub socks5: Option<u16>,
    /// Whether IPv6 is served.
    pub ipv6: bool,
    /// How long connections may go on after the workload's end.
    pub drain: Duration,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            outbound: 15001,
            inbound_plaintext: 15006,
            inbound_tunnel: 15008,
            socks5: None,
            ipv6: true,
            drain: Duration::from_secs(5),
        }
    }
}

/// One captured workload: its listeners in its own network namespace, its own pool and tasks. Ends when it is stopped or
/// dropped.
#[derive(Debug)]
pub struct Pod {
    inputs: Inputs,
    drain: Drain,
    limit: Duration,
}

impl Pod {
    /// Opens all listeners of a workload and serves them. The workload's record and certificate may come later; until then
    /// its connections wait.
    ///
    /// # Errors
    /// A listener could not be opened; none is left open then.
    pub fn start(
        inputs: &Inputs,
        sockets: Sockets,
        local: &LocalWorkload,
        ways: &Ways,
        drain: &Drain,
    ) -> io::Result<Self> {
        let wildcard = |port| wildcard(&sockets, ways.ipv6, port);
        let (outbound, plaintext, tunnel) =
            (wildcard(ways.outbound)?, wildcard(ways.inbound_plaintext)?, wildcard(ways.inbound_tunnel)?);
        let socks5 =
            ways.socks5.map(|port| sockets.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))).transpose()?;

        let mut inputs = inputs.clone();
        inputs.pool = Pool::with_dialer(Arc::new(TlsDialer::new(sockets.clone())), inputs.options.pool_idle);
        inputs.sockets = sockets;
        inputs.tasks = Tasks::default();
        let pod = Self { inputs: inputs.clone(), drain: drain.child(), limit: ways.drain };
        let way_out = Outbound::new(inputs.clone(), local.clone());
        let spawn = |way_in: WayIn, listener| {
            let served = way_in.serve(inputs.clone(), way_out.clone(), listener, pod.drain.clone());
            inputs.tasks.spawn(served);
        };
        spawn(WayIn::Captured, outbound);
        if let Some(listener) = socks5 {
            spawn(WayIn::Socks5, listener);
        }
        inputs.tasks.spawn(Passthrough::new(inputs.clone(), local.clone()).serve(plaintext, pod.drain.clone()));
        inputs.tasks.spawn(tunnels(inputs.clone(), local.clone(), tunnel, pod.drain.clone()));
        Ok(pod)
    }

    /// What the pod's connections work with, for further services of it, such as DNS.
    #[must_use]
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Begins when the pod stops.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Stops: nothing new, peers are told to go elsewhere, and what is left at the deadline is closed.
    ///
    /// # Cancel safety
    /// Dropping the future closes everything at once.
    pub async fn stop(self) {
        self.drain.begin();
        let _ = tokio::time::timeout(self.limit, self.inputs.tasks.wait()).await;
        self.inputs.tasks.stop().await;
        self.inputs.pool.shutdown().await;
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

/// Tunnels into a workload, as soon as it is known who it is.
async fn tunnels(inputs: Inputs, local: LocalWorkload, listener: Listener, drain: Drain) {
    let ready = async {
        loop {
            let workload = local.wait(&inputs.catalog, Duration::MAX).await?;
            match inputs.identities.identity(&workload.spiffe_id()).await {
                Ok(identity) => return Some(identity),
                Err(error) => {
                    tracing::warn!(workload = %workload.uid, %error, "no certificate yet; tunnels have to wait")
                }
            }
            sleep(RETRY).await;
        }
    };
    let identity = tokio::select! {
        () = drain.begun() => return,
        identity = ready => identity,
    };
    let Some(identity) = identity else { return };
    match Inbound::new(inputs, local, identity) {
        Ok(inbound) => inbound.serve(listener, drain).await,
        Err(error) => tracing::error!(%error, "tunnels into a workload cannot be served"),
    }
}

/// A listener on all addresses, of both families where that is wanted and the kernel has both.
fn wildcard(sockets: &Sockets, ipv6: bool, port: u16) -> io::Result<Listener> {
    let any = |ip: IpAddr| sockets.listen(SocketAddr::new(ip, port));
    if ipv6 {
        match any(Ipv6Addr::UNSPECIFIED.into()) {
            // No IPv6 in this kernel or namespace.
            Err(error) if matches!(error.raw_os_error(), Some(EAFNOSUPPORT | EADDRNOTAVAIL)) => {}
            other => return other,
        }
    }
    any(Ipv4Addr::UNSPECIFIED.into())
}

const EADDRNOTAVAIL: i32 = 99;
const EAFNOSUPPORT: i32 = 97;
