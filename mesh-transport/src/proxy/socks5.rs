//! SOCKS5 (RFC 1928) as a way in: CONNECT by IPv4, IPv6 or host name, without authentication.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mesh_core::name::Hostname;
use mesh_core::resolve::Destination;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;

/// Reply codes (section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    /// Connected.
    Succeeded = 0,
    /// Anything else went wrong.
    GeneralFailure = 1,
    /// A policy refuses.
    NotAllowed = 2,
    /// No way to the destination.
    HostUnreachable = 4,
    /// The destination refuses connections.
    ConnectionRefused = 5,
    /// Another command than CONNECT.
    CommandNotSupported = 7,
    /// An unknown type of address.
    AddressTypeNotSupported = 8,
}

/// A client does not speak SOCKS5 as served here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection failed or ended in mid-handshake.
    #[error("the client ended in mid-handshake")]
    Io(#[from] io::Error),
    /// Another version.
    #[error("version {0}, only SOCKS5 is served")]
    Version(u8),
    /// The client offers no method that is accepted.
    #[error("the client insists on authentication")]
    Method,
    /// Another command.
    #[error("command {0}, only CONNECT is served")]
    Command(u8),
    /// An unknown type of address.
    #[error("address type {0}")]
    AddressType(u8),
    /// The name is no host name, or the port is 0.
    #[error("no destination: {0}")]
    Destination(String),
}

/// Reads a client's handshake and gives what it wants to reach. The client waits for [`reply`].
///
/// Reads at most 527 bytes. A client that must be told what is wrong is told before the error returns.
///
/// # Errors
/// [`Error`].
///
/// # Cancel safety
/// Not safe: bytes are lost.
pub async fn accept<T: AsyncRead + AsyncWrite + Unpin>(stream: &mut T) -> Result<Destination, Error> {
    let [version, methods] = read::<2, _>(stream).await?;
    if version != VERSION {
        return Err(Error::Version(version));
    }
    let mut offered = vec![0; usize::from(methods)];
    stream.read_exact(&mut offered).await?;
    if !offered.contains(&NO_AUTHENTICATION) {
        stream.write_all(&[VERSION, NO_ACCEPTABLE_METHOD]).await?;
        return Err(Error::Method);
    }
    stream.write_all(&[VERSION, NO_AUTHENTICATION]).await?;

    let [version, command, _reserved, address_type] = read::<4, _>(stream).await?;
    if version != VERSION {
        return Err(Error::Version(version));
    }
    if command != CONNECT {
        reply(stream, Reply::CommandNotSupported).await?;
        return Err(Error::Command(command));
    }
    let host = match address_type {
        1 => Host::Ip(Ipv4Addr::from(read::<4, _>(stream).await?).into()),
        4 => Host::Ip(Ipv6Addr::from(read::<16, _>(stream).await?).into()),
        3 => {
            let [length] = read::<1, _>(stream).await?;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await?;
            Host::Name(String::from_utf8_lossy(&name).into_owned())
        }
        other => {
            reply(stream, Reply::AddressTypeNotSupported).await?;
            return Err(Error::AddressType(other));
        }
    };
    let port = u16::from_be_bytes(read::<2, _>(stream).await?);
    match host.destination(port) {
        Ok(destination) => Ok(destination),
        Err(error) => {
            reply(stream, Reply::GeneralFailure).await?;
            Err(error)
        }
    }
}

/// Answers a client's request.
///
/// # Errors
/// The client is gone.
///
/// # Cancel safety
/// Not safe: a part may have been sent.
pub async fn reply<T: AsyncWrite + Unpin>(stream: &mut T, reply: Reply) -> io::Result<()> {
    // The bound address tells a client nothing here: it is of another connection.
    stream.write_all(&[VERSION, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0]).await
}

enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Host {
    fn destination(self, port: u16) -> Result<Destination, Error> {
        if port == 0 {
            return Err(Error::Destination("port 0".to_owned()));
        }
        match self {
            Self::Ip(ip) => Ok(SocketAddr::new(ip, port).into()),
            // Clients pass addresses as names as well.
            Self::Name(name) => match name.parse::<IpAddr>() {
                Ok(ip) => Ok(SocketAddr::new(ip, port).into()),
                Err(_) => match Hostname::parse(&name) {
                    Ok(hostname) if !hostname.is_wildcard() => Ok(Destination::Hostname(hostname, port)),
                    _ => Err(Error::Destination(name)),
                },
            },
        }
    }
}

async fn read<const N: usize, T: AsyncRead + Unpin>(stream: &mut T) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
