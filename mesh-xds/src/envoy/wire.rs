//! What several of Envoy's resources hold: durations, addresses, wrapped messages.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::socket_address::{PortSpecifier, Protocol};
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration as Span, UInt32Value};
use http::StatusCode;
use prost::{Message, Name};

use super::error::{Error, Report};

/// Beginning of every type URL.
const TYPES: &str = "type.googleapis.com/";

pub(super) fn any<T: Message + Name>(message: &T) -> Any {
    Any { type_url: format!("{TYPES}{}", T::full_name()), value: message.encode_to_vec() }
}

/// Whether an `Any` holds a message of this type.
pub(super) fn holds<T: Name>(any: &Any) -> bool {
    any.type_url.strip_prefix(TYPES).is_some_and(|name| name == T::full_name())
}

/// The message of an `Any` that holds one of this type.
pub(super) fn unpack<T: Message + Default>(report: &Report, field: &str, any: &Any) -> Result<T, Error> {
    decode(&any.value).map_err(|error| report.invalid(field, error))
}

pub(super) fn decode<T: Message + Default>(bytes: &[u8]) -> Result<T, Error> {
    T::decode(bytes).map_err(|error| Error::Malformed(error.to_string()))
}

/// A duration, which must not be negative.
pub(super) fn duration(report: &Report, field: &str, span: &Span) -> Result<Duration, Error> {
    let seconds = u64::try_from(span.seconds).ok().filter(|seconds| *seconds <= MAX_SECONDS);
    let nanos = u32::try_from(span.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    match (seconds, nanos) {
        (Some(seconds), Some(nanos)) => Ok(Duration::new(seconds, nanos)),
        _ => Err(report.invalid(field, format_args!("{}.{:09} s is no duration", span.seconds, span.nanos))),
    }
}

/// 10,000 years, as `google.protobuf.Duration` says: short enough to be added to a time.
const MAX_SECONDS: u64 = 315_576_000_000;

/// As [`duration`], of a field that may be absent.
pub(super) fn optional_duration(report: &Report, field: &str, span: Option<&Span>) -> Result<Option<Duration>, Error> {
    span.map(|span| duration(report, field, span)).transpose()
}

pub(super) fn span(duration: Duration) -> Span {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Span { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default() }
}

/// A status of responses; `None` where none is said.
pub(super) fn status(report: &Report, field: &str, wire: Option<&HttpStatus>) -> Result<Option<StatusCode>, Error> {
    let Some(HttpStatus { code }) = wire.filter(|status| status.code != 0) else { return Ok(None) };
    let known = u16::try_from(*code).ok().filter(|code| (200..600).contains(code));
    let known = known.and_then(|code| StatusCode::from_u16(code).ok());
    known.map(Some).ok_or_else(|| report.invalid(field, format_args!("{code} is no status of a response")))
}

/// As [`status`], of a refusal: one that is none, a code below 400, is the same as none said, as Envoy takes it.
pub(super) fn refusal_status(
    report: &Report,
    field: &str,
    wire: Option<&HttpStatus>,
) -> Result<Option<StatusCode>, Error> {
    status(report, field, wire.filter(|status| status.code >= 400))
}

pub(super) fn wire_status(status: StatusCode) -> HttpStatus {
    HttpStatus { code: status.as_u16().into() }
}

pub(super) fn boolean(value: bool) -> BoolValue {
    BoolValue { value }
}

pub(super) fn uint32(value: u32) -> UInt32Value {
    UInt32Value { value }
}

/// A port of 16 bits.
pub(super) fn port(report: &Report, field: &str, value: u32) -> Result<u16, Error> {
    u16::try_from(value).map_err(|_| report.invalid(field, format_args!("{value} is no port")))
}

/// A TCP address with an IP.
pub(super) fn socket_address(report: &mut Report, address: &Address) -> Result<SocketAddr, Error> {
    let ip = |report: &Report, text: &str| -> Result<IpAddr, Error> {
        text.parse().map_err(|_| report.invalid("address", format_args!("`{text}` is no IP")))
    };
    tcp_address(report, address, ip).map(|(ip, port)| SocketAddr::new(ip, port))
}

/// A TCP address and its port; `host` reads what stands for the host.
pub(super) fn tcp_address<T>(
    report: &mut Report,
    address: &Address,
    host: impl FnOnce(&Report, &str) -> Result<T, Error>,
) -> Result<(T, u16), Error> {
    let Some(Place::SocketAddress(socket)) = &address.address else {
        return Err(Error::Unsupported { field: report.at("address") });
    };
    report.within("socket_address", |report| {
        let SocketAddress { protocol, address, resolver_name, ipv4_compat, network_namespace_filepath, port_specifier } =
            socket;
        report.refused("protocol", &(*protocol != i32::from(Protocol::Tcp)))?;
        report.refused("resolver_name", resolver_name)?;
        report.refused("network_namespace_filepath", network_namespace_filepath)?;
        report.ignored("ipv4_compat", ipv4_compat);
        let host = host(report, address)?;
        match port_specifier {
            Some(PortSpecifier::PortValue(value)) => Ok((host, port(report, "port_value", *value)?)),
            Some(PortSpecifier::NamedPort(_)) => Err(Error::Unsupported { field: report.at("named_port") }),
            None => Err(Error::Missing { field: report.at("port_value") }),
        }
    })
}

pub(crate) fn wire_address(at: SocketAddr) -> Address {
    let socket = SocketAddress {
        address: at.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(at.port().into())),
        ..SocketAddress::default()
    };
    Address { address: Some(Place::SocketAddress(socket)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_bounds() {
        let read = |seconds, nanos| duration(&Report::default(), "d", &Span { seconds, nanos }).ok();
        assert_eq!(read(1, 5), Some(Duration::new(1, 5)));
        assert_eq!(read(315_576_000_000, 999_999_999), Some(Duration::new(315_576_000_000, 999_999_999)));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (315_576_000_001, 0), (i64::MAX, 0)] {
            assert_eq!(read(seconds, nanos), None, "{seconds} {nanos}");
        }
    }
}
