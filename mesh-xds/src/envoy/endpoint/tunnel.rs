use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::envoy_internal_address::AddressNameSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, EnvoyInternalAddress, Metadata};
use envoy_types::pb::envoy::config::endpoint::v3::Endpoint as WireEndpoint;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use mesh_core::balance::Tunnel;
use mesh_core::name::{SpiffeId, parse_spiffe_id};

use super::texts;
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::wire_address;

/// The internal listener that puts streams into tunnels.
pub(in crate::envoy) const LISTENER: &str = "connect_originate";

/// Metadata of who may be at the end of a tunnel.
pub(in crate::envoy) const TUNNEL: &str = "mesh.tunnel";

/// Metadata of where a tunnel leads.
const DESTINATION: &str = "envoy.filters.listener.original_dst";
const LOCAL: &str = "local";
const WAYPOINT: &str = "waypoint";
const IDENTITIES: &str = "identities";

/// The endpoint at the end of a tunnel, with its own address; `None` for one that is not behind a tunnel.
pub(super) fn read(
    report: &Report,
    endpoint: &WireEndpoint,
    metadata: Option<&Metadata>,
) -> Result<Option<(WireEndpoint, Tunnel)>, Error> {
    if !endpoint.address.as_ref().is_some_and(is_tunnel) {
        return Ok(None);
    }
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
    let identities = match value(TUNNEL, IDENTITIES) {
        None => Vec::new(),
        Some(Kind::ListValue(ListValue { values })) => {
            values.iter().map(|value| identity(report, value)).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(report.invalid("metadata.filter_metadata[mesh.tunnel].identities", "is no list")),
    };
    let tunnel = Tunnel { identities, via: address(WAYPOINT)? };
    Ok(Some((WireEndpoint { address: Some(wire_address(local)), ..endpoint.clone() }, tunnel)))
}

/// Whether an address is that of the listener that puts streams into tunnels.
pub(in crate::envoy) fn is_tunnel(address: &Address) -> bool {
    let Some(Place::EnvoyInternalAddress(EnvoyInternalAddress { address_name_specifier, .. })) = &address.address
    else {
        return false;
    };
    matches!(address_name_specifier, Some(AddressNameSpecifier::ServerListenerName(name)) if name == LISTENER)
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
    let internal = EnvoyInternalAddress {
        endpoint_id: of,
        address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(LISTENER.to_owned())),
    };
    Address { address: Some(Place::EnvoyInternalAddress(internal)) }
}

/// The address by which an endpoint behind a tunnel goes; where it is goes into its metadata.
pub(super) fn wire(tunnel: &Tunnel, address: &Address, metadata: &mut Metadata) -> Address {
    let Tunnel { identities, via } = tunnel;
    let local = text(address);
    let via = via.map(|via| via.to_string());
    let places = [Some((LOCAL, local.as_str())), via.as_deref().map(|via| (WAYPOINT, via))];
    metadata.filter_metadata.insert(DESTINATION.to_owned(), texts(places.into_iter().flatten()));
    if !identities.is_empty() {
        let value = |id: &SpiffeId| Value { kind: Some(Kind::StringValue(id.to_string())) };
        let list = ListValue { values: identities.iter().map(value).collect() };
        let fields = [(IDENTITIES.to_owned(), Value { kind: Some(Kind::ListValue(list)) })];
        metadata.filter_metadata.insert(TUNNEL.to_owned(), Struct { fields: fields.into() });
    }
    wire_listener(local)
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
