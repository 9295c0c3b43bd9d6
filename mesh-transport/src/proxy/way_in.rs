use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::resolve::Destination;
use tokio::net::TcpStream;

use super::outbound::{Error, Outbound};
use super::socks5::{self, Reply};
use super::{Drain, Inputs};
use crate::hbone;
use crate::socket::{Listener, original_destination};

/// How long a client may take for its SOCKS5 handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How the connections of applications arrive: captured by the kernel, or, on machines without root, by asking for it.
///
/// Without capture whoever can connect to the listener speaks with the identity of the workload that it belongs to: bind it
/// where only that workload reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WayIn {
    /// The kernel redirected the connection here; it knows where it wanted to go.
    Captured,
    /// SOCKS5: the client says where to.
    Socks5,
    /// One fixed destination, for clients that cannot speak SOCKS5.
    Fixed(Destination),
}

impl WayIn {
    /// Serves a listener until the drain begins; connections go on in tasks of their own.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting.
    pub async fn serve(self, inputs: Inputs, outbound: Outbound, listener: Listener, drain: Drain) {
        loop {
            let (client, address) = tokio::select! {
                biased;
                () = drain.begun() => return,
                accepted = listener.accept() => accepted,
            };
            let (way_in, outbound) = (self.clone(), outbound.clone());
            inputs.tasks.spawn(async move {
                match way_in {
                    Self::Captured => captured(&outbound, client, address).await,
                    Self::Socks5 => socks5(&outbound, client, address).await,
                    Self::Fixed(destination) => fixed(&outbound, client, address, &destination).await,
                }
            });
        }
    }
}

async fn fixed(outbound: &Outbound, client: TcpStream, address: SocketAddr, destination: &Destination) {
    // A refusal closes the connection; the log has the reason.
    if let Ok(connected) = outbound.connect(destination, address).await {
        connected.relay(client).await;
    }
}

async fn captured(outbound: &Outbound, client: TcpStream, address: SocketAddr) {
    match original_destination(&client) {
        Ok(destination) => fixed(outbound, client, address, &destination.into()).await,
        Err(error) => tracing::debug!(%address, %error, "no original destination"),
    }
}

async fn socks5(outbound: &Outbound, mut client: TcpStream, address: SocketAddr) {
    let destination = match tokio::time::timeout(HANDSHAKE_TIMEOUT, socks5::accept(&mut client)).await {
        Ok(Ok(destination)) => destination,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "no SOCKS5 request"),
        Err(_) => return tracing::debug!(%address, "no SOCKS5 request in time"),
    };
    match outbound.connect(&destination, address).await {
        Ok(connected) => {
            if socks5::reply(&mut client, Reply::Succeeded).await.is_ok() {
                connected.relay(client).await;
            }
        }
        Err(error) => {
            let _ = socks5::reply(&mut client, reply(&error)).await;
        }
    }
}

fn reply(error: &Error) -> Reply {
    match error {
        error if error.is_policy() => Reply::NotAllowed,
        Error::Loop(_) | Error::NoLocalWorkload => Reply::NotAllowed,
        Error::Resolve(_) => Reply::HostUnreachable,
        Error::Connect { source, .. } if source.kind() == std::io::ErrorKind::ConnectionRefused => {
            Reply::ConnectionRefused
        }
        Error::Connect { .. } => Reply::HostUnreachable,
        Error::Tunnel(error) => match &**error {
            hbone::Error::Refused(_) => Reply::ConnectionRefused,
            hbone::Error::Connect { .. } | hbone::Error::Timeout(..) => Reply::HostUnreachable,
            _ => Reply::GeneralFailure,
        },
        _ => Reply::GeneralFailure,
    }
}
