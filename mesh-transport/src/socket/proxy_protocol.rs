//! The PROXY protocol, version 2 (HAProxy's `proxy-protocol.txt`): how a stream is handed to an application that wants to
//! know whom it serves.

use std::net::{IpAddr, SocketAddr};

/// What every header begins with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// TLV type under which Istio carries the SPIFFE id of the peer.
pub const TLV_IDENTITY: u8 = 0xd0;

/// Version 2, command PROXY.
const VERSION_COMMAND: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Longest rest after the 16 fixed bytes that is read.
const MAX_LENGTH: usize = 4096;

/// Whom a stream serves and what it was addressed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The client.
    pub source: SocketAddr,
    /// What it addressed.
    pub destination: SocketAddr,
    /// Its verified identity, if it has one.
    pub identity: Option<String>,
}

/// Bytes are no header that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// They begin otherwise.
    #[error("no PROXY protocol version 2 signature")]
    Signature,
    /// Another version or command than PROXY.
    #[error("version and command {0:#04x}, expected 0x21")]
    Command(u8),
    /// Neither TCP over IPv4 nor over IPv6.
    #[error("family and protocol {0:#04x}, expected TCP over IPv4 or IPv6")]
    Family(u8),
    /// The length is larger than is read, or smaller than its parts.
    #[error("a length of {0} bytes does not fit")]
    Length(usize),
    /// The identity is no UTF-8.
    #[error("the identity is no UTF-8")]
    Identity,
}

impl Header {
    /// The bytes of the header. Source and destination of different families are both written as IPv6.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(64);
        let family = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                rest.extend(source.octets());
                rest.extend(destination.octets());
                TCP_OVER_IPV4
            }
            (source, destination) => {
                rest.extend(as_v6(source));
                rest.extend(as_v6(destination));
                TCP_OVER_IPV6
            }
        };
        rest.extend(self.source.port().to_be_bytes());
        rest.extend(self.destination.port().to_be_bytes());
        if let Some(identity) = &self.identity
            && let Ok(length) = u16::try_from(identity.len())
        {
            rest.push(TLV_IDENTITY);
            rest.extend(length.to_be_bytes());
            rest.extend(identity.as_bytes());
        }
        let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
        let mut header = Vec::with_capacity(16 + rest.len());
        header.extend(SIGNATURE);
        header.extend([VERSION_COMMAND, family]);
        header.extend(length.to_be_bytes());
        header.extend(rest);
        header
    }

    /// Reads a header at the start of `bytes`. Gives it and its length; `None` when more bytes are needed. Unknown TLVs
    /// are passed over.
    ///
    /// # Errors
    /// [`Error`].
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let known = bytes.len().min(SIGNATURE.len());
        if bytes[..known] != SIGNATURE[..known] {
            return Err(Error::Signature);
        }
        let Some(([command, family, high, low], rest)) = bytes.get(12..).and_then(<[u8]>::split_first_chunk) else {
            return Ok(None);
        };
        if *command != VERSION_COMMAND {
            return Err(Error::Command(*command));
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length > MAX_LENGTH {
            return Err(Error::Length(length));
        }
        let Some(rest) = rest.get(..length) else {
            return if matches!(*family, TCP_OVER_IPV4 | TCP_OVER_IPV6) {
                Ok(None)
            } else {
                Err(Error::Family(*family))
            };
        };
        let short = || Error::Length(length);
        let (addresses, ports) = match *family {
            TCP_OVER_IPV4 => {
                let (source, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
                let (destination, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
                ((IpAddr::from(*source), IpAddr::from(*destination)), rest)
            }
            TCP_OVER_IPV6 => {
                let (source, rest) = rest.split_first_chunk::<16>().ok_or_else(short)?;
                let (destination, rest) = rest.split_first_chunk::<16>().ok_or_else(short)?;
                ((IpAddr::from(*source).to_canonical(), IpAddr::from(*destination).to_canonical()), rest)
            }
            other => return Err(Error::Family(other)),
        };
        let ([s0, s1, d0, d1], mut values) = ports.split_first_chunk().ok_or_else(short)?;
        let mut identity = None;
        while let Some(([kind, high, low], after)) = values.split_first_chunk() {
            let (value, after) =
                after.split_at_checked(usize::from(u16::from_be_bytes([*high, *low]))).ok_or_else(short)?;
            if *kind == TLV_IDENTITY {
                identity = Some(String::from_utf8(value.to_vec()).map_err(|_| Error::Identity)?);
            }
            values = after;
        }
        if !values.is_empty() {
            return Err(short());
        }
        let header = Self {
            source: SocketAddr::new(addresses.0, u16::from_be_bytes([*s0, *s1])),
            destination: SocketAddr::new(addresses.1, u16::from_be_bytes([*d0, *d1])),
            identity,
        };
        Ok(Some((header, 16 + length)))
    }
}

fn as_v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_what_ztunnel_writes() {
        let header = Header {
            source: "10.99.0.1:45584".parse().unwrap(),
            destination: "10.96.7.7:80".parse().unwrap(),
            identity: Some("spiffe://cluster.local/ns/default/sa/tester".to_owned()),
        };
        let mut expected = SIGNATURE.to_vec();
        expected
            .extend([0x21, 0x11, 0x00, 0x3a, 0x0a, 0x63, 0, 1, 0x0a, 0x60, 7, 7, 0xb2, 0x10, 0, 0x50, 0xd0, 0, 0x2b]);
        expected.extend(b"spiffe://cluster.local/ns/default/sa/tester");
        assert_eq!(header.encode(), expected);
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        prop_oneof![
            (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
            (any::<[u8; 16]>(), any::<u16>())
                .prop_map(|(ip, port)| SocketAddr::new(IpAddr::from(ip).to_canonical(), port)),
        ]
    }

    proptest! {
        #[test]
        fn decoding_gives_what_was_encoded(source in address(), destination in address(), identity: Option<String>) {
            let header = Header { source, destination, identity: identity.filter(|text| text.len() < 2000) };
            let mut bytes = header.encode();
            let length = bytes.len();
            for cut in 0..length {
                prop_assert_eq!(Header::decode(&bytes[..cut]), Ok(None));
            }
            bytes.extend(b"rest");
            prop_assert_eq!(Header::decode(&bytes), Ok(Some((header, length))));
        }

        #[test]
        fn no_bytes_panic(mut bytes: Vec<u8>, signed: bool) {
            if signed {
                bytes.splice(0..0, SIGNATURE);
            }
            let _ = Header::decode(&bytes);
        }
    }
}
