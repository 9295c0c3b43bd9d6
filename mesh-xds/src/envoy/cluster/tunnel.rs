//! Clusters with endpoints behind tunnels.

use std::collections::BTreeMap;
use std::net::IpAddr;

use envoy_types::pb::envoy::config::cluster::v3::Cluster as WireCluster;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{Metadata, TransportSocket};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as WireEndpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::extensions::transport_sockets::internal_upstream::v3::InternalUpstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::internal_upstream::v3::internal_upstream_transport::MetadataValueSource;
use envoy_types::pb::envoy::r#type::metadata::v3::MetadataKind;
use envoy_types::pb::envoy::r#type::metadata::v3::metadata_kind::{Host, Kind as MetadataOf};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use mesh_core::name::SpiffeId;
use mesh_core::tls::UpstreamTls;

use crate::envoy::endpoint::texts;
use crate::envoy::endpoint::tunnel::{TUNNEL, identity, is_tunnel, wire_listener};
use crate::envoy::error::{Error, Report};
use crate::envoy::tls::{upstream_socket, wire_plaintext_socket};
use crate::envoy::wire::{any, holds, unpack};

/// Name by which Envoy knows sockets to its own internal listeners.
const INTERNAL: &str = "envoy.transport_sockets.internal_upstream";

/// Metadata of endpoints that goes along into the tunnel: where it leads, and what telemetry says.
const PASSED_ON: [&str; 2] = ["envoy.filters.listener.original_dst", "istio"];

const WORKLOADS: &str = "workloads";

/// How connections are secured, and whether endpoints may be behind tunnels.
pub(super) fn socket(report: &mut Report, socket: &TransportSocket) -> Result<(Option<UpstreamTls>, bool), Error> {
    let Some(ConfigType::TypedConfig(any)) = &socket.config_type else {
        return Ok((upstream_socket(report, socket)?, false));
    };
    if !holds::<InternalUpstreamTransport>(any) {
        return Ok((upstream_socket(report, socket)?, false));
    }
    let InternalUpstreamTransport { passthrough_metadata: _, transport_socket } = unpack(report, "typed_config", any)?;
    report.within("typed_config", |report| {
        let inner = report.required("transport_socket", transport_socket.as_ref())?;
        let tls = report.within("transport_socket", |report| upstream_socket(report, inner))?;
        Ok((tls, true))
    })
}

pub(super) fn wire_socket(inner: Option<TransportSocket>) -> TransportSocket {
    let source = |name: &str| MetadataValueSource {
        kind: Some(MetadataKind { kind: Some(MetadataOf::Host(Host {})) }),
        name: name.to_owned(),
    };
    let message = InternalUpstreamTransport {
        passthrough_metadata: PASSED_ON.into_iter().map(source).collect(),
        transport_socket: Some(inner.unwrap_or_else(wire_plaintext_socket)),
    };
    TransportSocket { name: INTERNAL.to_owned(), config_type: Some(ConfigType::TypedConfig(any(&message))) }
}

/// Who may be at the end of the tunnels of a cluster that leads to where connections were meant for; `None` for others.
pub(super) fn to_original_dst(
    report: &Report,
    endpoints: &ClusterLoadAssignment,
    metadata: Option<&Metadata>,
) -> Result<Option<BTreeMap<IpAddr, SpiffeId>>, Error> {
    let [LocalityLbEndpoints { lb_endpoints, .. }] = endpoints.endpoints.as_slice() else { return Ok(None) };
    let [LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), metadata: None, .. }] =
        lb_endpoints.as_slice()
    else {
        return Ok(None);
    };
    if !endpoint.address.as_ref().is_some_and(is_tunnel) {
        return Ok(None);
    }
    let workloads = metadata.and_then(|metadata| metadata.filter_metadata.get(TUNNEL)?.fields.get(WORKLOADS));
    let field = "metadata.filter_metadata[mesh.tunnel].workloads";
    let one = |(address, value): (&String, &Value)| {
        let invalid = |_| report.invalid(field, format_args!("`{address}` is no address"));
        Ok((address.parse::<IpAddr>().map_err(invalid)?, identity(report, value)?))
    };
    match workloads.map(|workloads| workloads.kind.as_ref()) {
        None => Ok(Some(BTreeMap::new())),
        Some(Some(Kind::StructValue(Struct { fields }))) => fields.iter().map(one).collect::<Result<_, _>>().map(Some),
        Some(_) => Err(report.invalid(field, "is no structure")),
    }
}

/// Fills in the one endpoint, and who may be at the end.
pub(super) fn wire_to_original_dst(identities: &BTreeMap<IpAddr, SpiffeId>, message: &mut WireCluster) {
    let endpoint = WireEndpoint { address: Some(wire_listener(String::new())), ..WireEndpoint::default() };
    let endpoint = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    message.load_assignment = Some(ClusterLoadAssignment {
        cluster_name: message.name.clone(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    });
    if identities.is_empty() {
        return;
    }
    let pairs: Vec<_> = identities.iter().map(|(address, id)| (address.to_string(), id.to_string())).collect();
    let workloads = texts(pairs.iter().map(|(address, id)| (address.as_str(), id.as_str())));
    let fields = [(WORKLOADS.to_owned(), Value { kind: Some(Kind::StructValue(workloads)) })];
    let metadata = message.metadata.get_or_insert_default();
    metadata.filter_metadata.insert(TUNNEL.to_owned(), Struct { fields: fields.into() });
}
