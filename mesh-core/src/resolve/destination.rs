use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::name::Hostname;

/// What a client addressed, or what a CONNECT request names: an address or a host name, with a port.
///
/// Written as a request authority (RFC 9110 section 7.2 with a mandatory port): `10.0.0.1:80`, `[2001:db8::1]:80`,
/// `reviews.shop.svc.cluster.local:80`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// An address and port.
    Address(SocketAddr),
    /// A host name and port.
    Hostname(Hostname, u16),
}

impl Destination {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Hostname(_, port) => *port,
        }
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self::Address(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl FromStr for Destination {
    type Err = ParseDestinationError;

    fn from_str(text: &str) -> Result<Self, ParseDestinationError> {
        let refuse = || ParseDestinationError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        // `u16::from_str` takes a leading `+`; an authority does not.
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(refuse)?;
        if let Some(literal) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let ip: Ipv6Addr = literal.parse().map_err(|_| refuse())?;
            return Ok(SocketAddr::new(IpAddr::V6(ip), port).into());
        }
        if let Ok(ip) = host.parse::<std::net::Ipv4Addr>() {
            return Ok(SocketAddr::new(IpAddr::V4(ip), port).into());
        }
        let hostname = Hostname::parse(host).map_err(|_| refuse())?;
        // A wildcard stands in records, nobody can connect to it.
        if hostname.is_wildcard() {
            return Err(refuse());
        }
        Ok(Self::Hostname(hostname, port))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Hostname(hostname, port) => write!(f, "{hostname}:{port}"),
        }
    }
}

/// A text that is no request authority with a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form address:port, [address]:port or hostname:port")]
pub struct ParseDestinationError(String);
