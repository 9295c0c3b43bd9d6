use std::collections::HashMap;
use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::envoy_internal_address::AddressNameSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, EnvoyInternalAddress, Metadata};
use envoy_types::pb::envoy::config::endpoint::v3::Endpoint as WireEndpoint;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use mesh_core::balance::{InnerTunnel, Tunnel};
use mesh_core::name::{Hostname, SpiffeId, parse_spiffe_id};

use super::{TELEMETRY, texts};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::wire_address;

/// The internal listener that puts streams into tunnels.
pub(in crate::envoy) const LISTENER: &str = "connect_originate";

/// The one that puts streams into tunnels within tunnels, to other networks.
const INNER_LISTENER: &str = "inner_connect_originate";

/// Metadata of who may be at the end of a tunnel.
pub(in crate::envoy) const TUNNEL: &str = "mesh.tunnel";

/// Metadata of where a tunnel leads.
const DESTINATION: &str = "envoy.filters.listener.original_dst";
const LOCAL: &str = "local";
const WAYPOINT: &str = "waypoint";
const IDENTITIES: &str = "identities";
const INNER_IDENTITIES: &str = "inner_identities";

/// In Istio's own metadata: the service that tunnels to another network are asked for.
const DOUBLE: &str = "double_hbone";
const TARGET: &str = "hbone_target_address";

/// The endpoint at the end of a tunnel, with its own address; `None` for one that is not behind a tunnel.
pub(super) fn read(
    report: &Report,
    endpoint: &WireEndpoint,
    metadata: Option<&Metadata>,
) -> Result<Option<(WireEndpoint, Tunnel)>, Error> {
    let is_nested = match endpoint.address.as_ref().and_then(internal) {
        Some(LISTENER) => false,
        Some(INNER_LISTENER) => true,
        _ => return Ok(None),
    };
    let field = |key: &str| format!("metadata.filter_metadata[{DESTINATION}].{key}");
    let value = |namespace: &str, key: &str| metadata?.filter_metadata.get(namespace)?.fields.get(key)?.kind.as_ref();
    let address = |key: &str| match value(DESTINATION, key) {
        None => Ok(None),
        Some(Kind::StringValue(text)) => match text.parse::<SocketAddr>() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(report.invalid(&field(key), format_args!("`{text}` is no address with a port"))),
        },
        Some(_) => Err(report.invalid(&field(key), "is no text")),
    };
    let local = address(LOCAL)?.ok_or_else(|| Error::Missing { field: report.at(field(LOCAL)) })?;
    let identities = |key: &str| match value(TUNNEL, key) {
        None => Ok(Vec::new()),
        Some(Kind::ListValue(ListValue { values })) => values.iter().map(|value| identity(report, value)).collect(),
        Some(_) => Err(report.invalid(&format!("metadata.filter_metadata[{TUNNEL}].{key}"), "is no list")),
    };
    let tunnel = if is_nested {
        let (host, port) = target(report, value(TELEMETRY, DOUBLE))?;
        let inner = InnerTunnel { host, port, identities: identities(INNER_IDENTITIES)? };
        Tunnel { identities: identities(IDENTITIES)?, via: None, inner: Some(inner) }
    } else {
        Tunnel { identities: identities(IDENTITIES)?, via: address(WAYPOINT)?, inner: None }
    };
    Ok(Some((WireEndpoint { address: Some(wire_address(local)), ..endpoint.clone() }, tunnel)))
}

/// The service that tunnels to another network are asked for.
fn target(report: &Report, told: Option<&Kind>) -> Result<(Hostname, u16), Error> {
    let field = format!("metadata.filter_metadata[{TELEMETRY}].{DOUBLE}.{TARGET}");
    let target = match told {
        Some(Kind::StructValue(Struct { fields })) => fields.get(TARGET).and_then(|value| value.kind.as_ref()),
        _ => None,
    };
    let Some(Kind::StringValue(text)) = target else { return Err(Error::Missing { field: report.at(field) }) };
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((Hostname::parse(host).ok()?, port.parse().ok()?)));
    parts.ok_or_else(|| report.invalid(&field, format_args!("`{text}` is no host name with a port")))
}

/// Whether an address is that of the listener that puts streams into tunnels.
pub(in crate::envoy) fn is_tunnel(address: &Address) -> bool {
    internal(address) == Some(LISTENER)
}

/// The internal listener that an address is of.
fn internal(address: &Address) -> Option<&str> {
    match &address.address {
        Some(Place::EnvoyInternalAddress(EnvoyInternalAddress {
            address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(name)),
            ..
        })) => Some(name),
        _ => None,
    }
}

/// An identity, as it stands in metadata.
pub(in crate::envoy) fn identity(report: &Report, value: &Value) -> Result<SpiffeId, Error> {
    let refused = |reason: &dyn std::fmt::Display| report.invalid("metadata.filter_metadata[mesh.tunnel]", reason);
    match &value.kind {
        Some(Kind::StringValue(text)) => parse_spiffe_id(text).map_err(|error| refused(&error)),
        _ => Err(refused(&"an identity is no text")),
    }
}

/// The address of the listener that puts streams into tunnels; `of` tells endpoints apart.
pub(in crate::envoy) fn wire_listener(of: String) -> Address {
    wire_internal(LISTENER, of)
}

fn wire_internal(listener: &str, of: String) -> Address {
    let internal = EnvoyInternalAddress {
        endpoint_id: of,
        address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(listener.to_owned())),
    };
    Address { address: Some(Place::EnvoyInternalAddress(internal)) }
}

/// The address by which an endpoint behind a tunnel goes; where it is goes into its metadata.
pub(super) fn wire(tunnel: &Tunnel, address: &Address, metadata: &mut Metadata) -> Address {
    let Tunnel { identities, via, inner } = tunnel;
    let local = text(address);
    let via = via.filter(|_| inner.is_none()).map(|via| via.to_string());
    let places = [Some((LOCAL, local.as_str())), via.as_deref().map(|via| (WAYPOINT, via))];
    metadata.filter_metadata.insert(DESTINATION.to_owned(), texts(places.into_iter().flatten()));
    let far = inner.as_ref().map_or(&[][..], |inner| &inner.identities);
    let named = [(IDENTITIES, identities.as_slice()), (INNER_IDENTITIES, far)].into_iter();
    let fields: HashMap<_, _> = named.filter(|(_, ids)| !ids.is_empty()).map(wire_identities).collect();
    if !fields.is_empty() {
        metadata.filter_metadata.insert(TUNNEL.to_owned(), Struct { fields });
    }
    let Some(InnerTunnel { host, port, .. }) = inner else {
        // Envoy takes endpoints of one id for one. To one address there are as many ways as its waypoint has instances.
        return wire_listener(via.map_or_else(|| local.clone(), |via| format!("{local};{via}")));
    };
    let target = texts([(TARGET, format!("{host}:{port}").as_str())]);
    let told = metadata.filter_metadata.entry(TELEMETRY.to_owned()).or_default();
    told.fields.insert(DOUBLE.to_owned(), Value { kind: Some(Kind::StructValue(target)) });
    wire_internal(INNER_LISTENER, local)
}

fn wire_identities((key, identities): (&str, &[SpiffeId])) -> (String, Value) {
    let value = |id: &SpiffeId| Value { kind: Some(Kind::StringValue(id.to_string())) };
    let list = ListValue { values: identities.iter().map(value).collect() };
    (key.to_owned(), Value { kind: Some(Kind::ListValue(list)) })
}

fn text(address: &Address) -> String {
    let Some(Place::SocketAddress(socket)) = &address.address else { return String::new() };
    let port = match socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => port,
        _ => 0,
    };
    if socket.address.contains(':') {
        format!("[{}]:{port}", socket.address)
    } else {
        format!("{}:{port}", socket.address)
    }
}
