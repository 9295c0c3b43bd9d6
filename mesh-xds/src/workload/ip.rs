use std::net::IpAddr;

use ipnet::IpNet;

use super::Error;

/// An address; an IPv4 address in IPv6 form is the IPv4 address.
pub(super) fn decode(field: &'static str, bytes: &[u8]) -> Result<IpAddr, Error> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(bytes).to_canonical()))
        .map_err(|_| Error::Address { field, length: bytes.len() })
}

pub(super) fn decode_range(field: &'static str, bytes: &[u8], length: u32) -> Result<IpNet, Error> {
    let refuse = || Error::Prefix { field, length };
    let ip = decode(field, bytes)?;
    let bits = u8::try_from(length).map_err(|_| refuse())?;
    // Decisions look at IPv4 addresses as IPv4: a range of mapped ones would never match.
    let bits = if bytes.len() == 16 && ip.is_ipv4() { bits.checked_sub(96).ok_or_else(refuse)? } else { bits };
    IpNet::new(ip, bits).map_err(|_| refuse())
}

pub(super) fn encode(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
