//! Envoy's `CidrRange` ↔ [`IpNet`]: bits below the prefix do not count, and no length is the length 0.

use std::net::IpAddr;

use envoy_types::pb::envoy::config::core::v3::CidrRange;
use ipnet::IpNet;

use super::error::{Error, Report};
use super::wire::uint32;

pub(super) fn cidr(report: &Report, range: &CidrRange) -> Result<IpNet, Error> {
    let CidrRange { address_prefix, prefix_len } = range;
    let refuse = || report.invalid("address_prefix", format_args!("`{address_prefix}` is no IP"));
    let address: IpAddr = address_prefix.parse().map_err(|_| refuse())?;
    let length = prefix_len.map_or(0, |length| length.value);
    let net = u8::try_from(length).ok().and_then(|length| IpNet::new(address, length).ok());
    net.map(|net| net.trunc()).ok_or_else(|| report.invalid("prefix_len", format_args!("{length} is too long")))
}

pub(super) fn wire_cidr(range: &IpNet) -> CidrRange {
    CidrRange { address_prefix: range.network().to_string(), prefix_len: Some(uint32(range.prefix_len().into())) }
}
