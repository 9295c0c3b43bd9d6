//! Listeners that take all nodes of a region at once, as they come back after a cut.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted. With the default some of a thousand that came at once were reset.
const BACKLOG: u32 = 4096;

/// Listens at an address.
///
/// # Errors
/// Names the address.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let listening = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listening().map_err(|error| format!("listen {address}: {error}"))
}
