use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Where a captured connection wanted to go before the kernel redirected it here: `SO_ORIGINAL_DST`, or, where nothing
/// was rewritten (TPROXY, a direct connection), the address that it arrived at.
///
/// # Errors
/// The socket is not connected any more.
#[cfg(target_os = "linux")]
pub fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = socket2::SockRef::from(stream);
    let address = socket.original_dst_v4().or_else(|_| socket.original_dst_v6());
    let address = match address.ok().and_then(|address| address.as_socket()) {
        Some(address) => address,
        None => stream.local_addr()?,
    };
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// The address that the connection arrived at: this system redirects nothing.
///
/// # Errors
/// The socket is not connected any more.
#[cfg(not(target_os = "linux"))]
pub fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let address = stream.local_addr()?;
    Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
}
