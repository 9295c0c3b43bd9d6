use std::net::IpAddr;

use ipnet::IpNet;

use super::Error;

pub(super) fn decode(field: &'static str, bytes: &[u8]) -> Result<IpAddr, Error> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .map_err(|_| Error::Address { field, length: bytes.len() })
}

pub(super) fn decode_range(field: &'static str, bytes: &[u8], length: u32) -> Result<IpNet, Error> {
    let ip = decode(field, bytes)?;
    let bits = u8::try_from(length).map_err(|_| Error::Prefix { field, length })?;
    IpNet::new(ip, bits).map_err(|_| Error::Prefix { field, length })
}

pub(super) fn encode(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
