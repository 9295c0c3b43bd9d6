//! `ClusterLoadAssignment` ↔ [`mesh_core::balance::Assignment`].
//!
//! | field | how it is taken |
//! | --- | --- |
//! | **ClusterLoadAssignment** `cluster_name`, `endpoints` | honoured |
//! | `named_endpoints`, `endpoint_stale_after` | warning: nothing refers to the one, and an assignment does not age |
//! | `drop_overloads`, `overprovisioning_factor`, `weighted_priority_health` | honoured |
//! | **LocalityLbEndpoints** `locality`, `lb_endpoints`, `load_balancer_endpoints`, `load_balancing_weight`, `priority` | honoured |
//! | `proximity`, `metadata` | warning, as in Envoy |
//! | `leds_cluster_locality_config` | NACK |
//! | **LbEndpoint** `endpoint`, `load_balancing_weight` | honoured; 0 is refused |
//! | `health_status` | honoured; an unknown one is refused |
//! | `metadata` | `envoy.lb` (of which structures and nulls match nothing), the texts of `envoy.transport_socket_match`, `workload` of `istio` are honoured, and of tunnels what the next chapter says; the rest is for others |
//! | `endpoint_name` | NACK |
//! | **Endpoint** `address`, `additional_addresses` | honoured; must be an IP address, but for clusters that ask DNS |
//! | `hostname`, `health_check_config` | honoured |
//! | `observability_name` | warning |
//!
//! # Tunnels
//!
//! An endpoint behind HBONE ([`Endpoint::tunnel`]) has no address but that of the internal listener `connect_originate`, as
//! the control plane of Istio sends it to waypoints and gateways, so that Envoy, too, can be told of it. Where it is stands in
//! its metadata:
//!
//! ```yaml
//! endpoint:
//!   address: {envoy_internal_address: {server_listener_name: connect_originate, endpoint_id: "10.0.0.7:8080"}}
//! metadata:
//!   filter_metadata:
//!     envoy.filters.listener.original_dst: {local: "10.0.0.7:8080"}   # and `waypoint`, where the tunnel leads instead
//!     mesh.tunnel: {identities: ["spiffe://cluster.local/ns/shop/sa/carts"]}
//! ```
//!
//! An endpoint in another network ([`Tunnel::inner`](mesh_core::balance::Tunnel)) is told of by the gateway of that network
//! and the service that both tunnels are asked for:
//!
//! ```yaml
//! endpoint:
//!   address: {envoy_internal_address: {server_listener_name: inner_connect_originate, endpoint_id: "192.0.2.7:15008"}}
//! metadata:
//!   filter_metadata:
//!     envoy.filters.listener.original_dst: {local: "192.0.2.7:15008"}
//!     istio: {double_hbone: {hbone_target_address: "carts.shop.svc.cluster.local:80"}}
//!     mesh.tunnel: {identities: [of the gateway], inner_identities: ["spiffe://cluster.local/ns/shop/sa/carts"]}
//! ```
//!
//! `mesh.tunnel` is ours. Without it, as from Istio, any member of our own trust domain may be at the end. An internal
//! listener of another name: NACK.
//!
//! Refused as well: a gap between priorities, a locality twice in a priority, weights that sum up beyond 32 bits.

pub(in crate::envoy) mod tunnel;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use envoy_types::pb::envoy::config::core::v3::{Address, HealthStatus, Locality as WireLocality, Metadata};
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::policy::DropOverload;
use envoy_types::pb::envoy::config::endpoint::v3::endpoint::{AdditionalAddress, HealthCheckConfig};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::locality_lb_endpoints::{LbConfig, LbEndpointList};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as WireEndpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, UInt32Value, Value};
use mesh_core::balance::{
    Assignment, Drop, Endpoint, EndpointProbe, EndpointValue, Health, InvalidAssignment, LocalityEndpoints, PerMillion,
};
use mesh_core::name::{Locality, Text};
use prost::Message;

use crate::envoy::error::{Decoded, Error, Report};
use crate::envoy::metadata::{value, wire_value};
use crate::envoy::wire::{decode, port, socket_address, uint32, wire_address};

/// Reads a `ClusterLoadAssignment`.
///
/// # Errors
///
/// The resource is rejected as the table of this module says.
pub fn decode_assignment(bytes: &[u8]) -> Result<Decoded<Assignment>, Error> {
    let mut report = Report::default();
    let value = assignment(&mut report, &decode(bytes)?, socket_address)?;
    Ok(report.finish(value))
}

/// Writes a `ClusterLoadAssignment`.
#[must_use]
pub fn encode_assignment(assignment: &Assignment) -> Vec<u8> {
    wire_assignment(assignment, |address| wire_address(*address)).encode_to_vec()
}

/// How an endpoint's address is read.
type ReadAddress<A> = fn(&mut Report, &Address) -> Result<A, Error>;

pub(in crate::envoy) fn assignment<A>(
    report: &mut Report,
    message: &ClusterLoadAssignment,
    address: ReadAddress<A>,
) -> Result<Assignment<A>, Error> {
    let ClusterLoadAssignment { cluster_name, endpoints, named_endpoints, policy } = message;
    report.ignored("named_endpoints", named_endpoints);
    let localities = report.each("endpoints", endpoints, |report, message| locality(report, message, address))?;
    let mut assignment = Assignment::new(cluster_name.as_str(), localities);
    if let Some(policy) = policy {
        report.within("policy", |report| read_policy(report, policy, &mut assignment))?;
    }
    assignment.validate().map_err(|error| invalid(report, &error))?;
    Ok(assignment)
}

pub(in crate::envoy) fn wire_assignment<A>(
    assignment: &Assignment<A>,
    address: impl Fn(&A) -> Address,
) -> ClusterLoadAssignment {
    let Assignment { cluster, localities, drops, overprovisioning_factor, weighted_priority_health } = assignment;
    let drop = |Drop { category, share }: &Drop| DropOverload {
        category: category.to_string(),
        drop_percentage: Some(FractionalPercent {
            numerator: share.value(),
            denominator: DenominatorType::Million.into(),
        }),
    };
    ClusterLoadAssignment {
        cluster_name: cluster.to_string(),
        endpoints: localities.iter().map(|locality| wire_locality(locality, &address)).collect(),
        policy: Some(Policy {
            drop_overloads: drops.iter().map(drop).collect(),
            overprovisioning_factor: Some(uint32(overprovisioning_factor.get())),
            weighted_priority_health: *weighted_priority_health,
            ..Policy::default()
        }),
        ..ClusterLoadAssignment::default()
    }
}

fn invalid(report: &Report, error: &InvalidAssignment) -> Error {
    report.invalid("endpoints", error)
}

fn read_policy<A>(report: &mut Report, policy: &Policy, assignment: &mut Assignment<A>) -> Result<(), Error> {
    let Policy { drop_overloads, overprovisioning_factor, endpoint_stale_after, weighted_priority_health } = policy;
    report.ignored("endpoint_stale_after", endpoint_stale_after);
    assignment.drops = report.each("drop_overloads", drop_overloads, |report, message| {
        let DropOverload { category, drop_percentage } = message;
        if category.is_empty() {
            return Err(Error::Missing { field: report.at("category") });
        }
        let share = report.required("drop_percentage", *drop_percentage)?;
        Ok(Drop { category: category.as_str().into(), share: per_million(report, share)? })
    })?;
    if let Some(factor) = weight(report, "overprovisioning_factor", *overprovisioning_factor)? {
        assignment.overprovisioning_factor = factor;
    }
    assignment.weighted_priority_health = *weighted_priority_health;
    Ok(())
}

fn per_million(report: &Report, share: FractionalPercent) -> Result<PerMillion, Error> {
    let FractionalPercent { numerator, denominator } = share;
    let unit = match DenominatorType::try_from(denominator) {
        Ok(DenominatorType::Hundred) => 10_000,
        Ok(DenominatorType::TenThousand) => 100,
        Ok(DenominatorType::Million) => 1,
        Err(_) => return Err(report.invalid("drop_percentage", "unknown denominator")),
    };
    Ok(PerMillion::new(numerator.saturating_mul(unit)))
}

fn locality<A>(
    report: &mut Report,
    message: &LocalityLbEndpoints,
    address: ReadAddress<A>,
) -> Result<LocalityEndpoints<A>, Error> {
    let LocalityLbEndpoints { locality, metadata, lb_endpoints, load_balancing_weight, priority, proximity, lb_config } =
        message;
    report.ignored("metadata", metadata);
    report.ignored("proximity", proximity);
    let (field, list) = match lb_config {
        None => ("lb_endpoints", lb_endpoints),
        Some(LbConfig::LoadBalancerEndpoints(LbEndpointList { lb_endpoints: list })) => {
            // In Envoy the one replaces the other; both at once say two things.
            report.refused("lb_endpoints", lb_endpoints)?;
            ("load_balancer_endpoints.lb_endpoints", list)
        }
        Some(LbConfig::LedsClusterLocalityConfig(_)) => {
            return Err(Error::Unsupported { field: report.at("leds_cluster_locality_config") });
        }
    };
    if *priority > MAX_PRIORITY {
        return Err(report.invalid("priority", format_args!("{priority} is above {MAX_PRIORITY}")));
    }
    Ok(LocalityEndpoints {
        locality: locality.as_ref().map(read_locality).unwrap_or_default(),
        priority: *priority,
        weight: weight(report, "load_balancing_weight", *load_balancing_weight)?,
        endpoints: report.each(field, list, |report, message| lb_endpoint(report, message, address))?,
    })
}

/// As in Envoy.
const MAX_PRIORITY: u32 = 128;

fn read_locality(message: &WireLocality) -> Locality {
    let WireLocality { region, zone, sub_zone } = message;
    Locality::new(region, zone, sub_zone)
}

fn wire_locality<A>(locality: &LocalityEndpoints<A>, address: impl Fn(&A) -> Address) -> LocalityLbEndpoints {
    let LocalityEndpoints { locality, priority, weight, endpoints } = locality;
    let Locality { region, zone, subzone } = locality;
    LocalityLbEndpoints {
        // Always there, even if empty: gRPC rejects an assignment without.
        locality: Some(WireLocality {
            region: region.to_string(),
            zone: zone.to_string(),
            sub_zone: subzone.to_string(),
        }),
        lb_endpoints: endpoints.iter().map(|endpoint| wire_endpoint(endpoint, &address)).collect(),
        load_balancing_weight: weight.map(|weight| uint32(weight.get())),
        priority: *priority,
        ..LocalityLbEndpoints::default()
    }
}

fn lb_endpoint<A>(report: &mut Report, message: &LbEndpoint, address: ReadAddress<A>) -> Result<Endpoint<A>, Error> {
    let LbEndpoint { health_status, metadata, load_balancing_weight, host_identifier } = message;
    let endpoint = match report.required("endpoint", host_identifier.as_ref())? {
        HostIdentifier::Endpoint(endpoint) => endpoint,
        HostIdentifier::EndpointName(_) => return Err(Error::Unsupported { field: report.at("endpoint_name") }),
    };
    let health = match HealthStatus::try_from(*health_status) {
        Ok(HealthStatus::Unknown) => Health::Unknown,
        Ok(HealthStatus::Healthy) => Health::Healthy,
        Ok(HealthStatus::Unhealthy) => Health::Unhealthy,
        Ok(HealthStatus::Draining) => Health::Draining,
        Ok(HealthStatus::Timeout) => Health::Timeout,
        Ok(HealthStatus::Degraded) => Health::Degraded,
        Err(_) => return Err(report.invalid("health_status", format_args!("unknown status {health_status}"))),
    };
    let weight = weight(report, "load_balancing_weight", *load_balancing_weight)?.unwrap_or(NonZeroU32::MIN);
    let tunnelled = tunnel::read(report, endpoint, metadata.as_ref())?;
    let (endpoint, tunnel) = match tunnelled {
        Some((endpoint, tunnel)) => (Cow::Owned(endpoint), Some(tunnel)),
        None => (Cow::Borrowed(endpoint), None),
    };
    let endpoint = report.within("endpoint", |report| read_endpoint(report, &endpoint, address))?;
    Ok(Endpoint {
        tunnel,
        workload: text_of(metadata.as_ref(), TELEMETRY, WORKLOAD).unwrap_or_default(),
        weight,
        health,
        hash_key: text_of(metadata.as_ref(), BALANCING, HASH_KEY),
        metadata: values(metadata.as_ref()),
        transport_labels: transport_labels(metadata.as_ref()),
        ..endpoint
    })
}

fn read_endpoint<A>(report: &mut Report, message: &WireEndpoint, read: ReadAddress<A>) -> Result<Endpoint<A>, Error> {
    let WireEndpoint { address, health_check_config, hostname, additional_addresses, observability_name } = message;
    report.ignored("observability_name", observability_name);
    let at = report.required("address", address.as_ref())?;
    let mut endpoint = Endpoint::new(report.within("address", |report| read(report, at))?);
    endpoint.hostname = hostname.as_str().into();
    endpoint.additional_addresses = report.each("additional_addresses", additional_addresses, |report, message| {
        let AdditionalAddress { address } = message;
        ip(report, address.as_ref())
    })?;
    if let Some(config) = health_check_config {
        endpoint.probe = report.within("health_check_config", |report| probe(report, config))?;
    }
    Ok(endpoint)
}

fn ip(report: &mut Report, address: Option<&Address>) -> Result<SocketAddr, Error> {
    let address = report.required("address", address)?;
    report.within("address", |report| socket_address(report, address))
}

fn probe(report: &mut Report, config: &HealthCheckConfig) -> Result<EndpointProbe, Error> {
    let HealthCheckConfig { port_value, hostname, address, disable_active_health_check } = config;
    let port = match port_value {
        0 => None,
        value => Some(port(report, "port_value", *value)?),
    };
    let address = address.as_ref().map(|address| ip(report, Some(address))).transpose()?;
    Ok(EndpointProbe { address, port, hostname: hostname.as_str().into(), disabled: *disable_active_health_check })
}

fn wire_endpoint<A>(endpoint: &Endpoint<A>, at: impl Fn(&A) -> Address) -> LbEndpoint {
    let Endpoint {
        address,
        additional_addresses,
        hostname,
        weight,
        health,
        hash_key,
        metadata: values,
        transport_labels,
        tunnel,
        workload,
        probe,
    } = endpoint;
    let mut metadata = metadata(hash_key.as_ref(), values, transport_labels);
    if !workload.is_empty() {
        metadata.filter_metadata.insert(TELEMETRY.to_owned(), texts([(WORKLOAD, workload.as_str())]));
    }
    let mut address = at(address);
    if let Some(tunnel) = tunnel {
        address = tunnel::wire(tunnel, &address, &mut metadata);
    }
    let health = match health {
        Health::Unknown => HealthStatus::Unknown,
        Health::Healthy => HealthStatus::Healthy,
        Health::Degraded => HealthStatus::Degraded,
        Health::Unhealthy => HealthStatus::Unhealthy,
        Health::Draining => HealthStatus::Draining,
        Health::Timeout => HealthStatus::Timeout,
    };
    let additional = |at: &SocketAddr| AdditionalAddress { address: Some(wire_address(*at)) };
    let message = WireEndpoint {
        address: Some(address),
        health_check_config: (*probe != EndpointProbe::default()).then(|| wire_probe(probe)),
        hostname: hostname.to_string(),
        additional_addresses: additional_addresses.iter().map(additional).collect(),
        ..WireEndpoint::default()
    };
    LbEndpoint {
        health_status: health.into(),
        metadata: (!metadata.filter_metadata.is_empty()).then_some(metadata),
        load_balancing_weight: Some(uint32(weight.get())),
        host_identifier: Some(HostIdentifier::Endpoint(message)),
    }
}

fn wire_probe(probe: &EndpointProbe) -> HealthCheckConfig {
    let EndpointProbe { address, port, hostname, disabled } = probe;
    HealthCheckConfig {
        port_value: port.map_or(0, u32::from),
        hostname: hostname.to_string(),
        address: address.map(wire_address),
        disable_active_health_check: *disabled,
    }
}

/// A number that must not be 0 where it is set.
fn weight(report: &Report, field: &str, value: Option<UInt32Value>) -> Result<Option<NonZeroU32>, Error> {
    let not_zero = |UInt32Value { value }| NonZeroU32::new(value).ok_or_else(|| report.invalid(field, "must not be 0"));
    value.map(not_zero).transpose()
}

/// Namespaces of metadata.
const BALANCING: &str = "envoy.lb";
const TRANSPORT: &str = "envoy.transport_socket_match";
const TELEMETRY: &str = "istio";
const HASH_KEY: &str = "hash_key";
const WORKLOAD: &str = "workload";

fn text_of(metadata: Option<&Metadata>, namespace: &str, key: &str) -> Option<Text> {
    match metadata?.filter_metadata.get(namespace)?.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.as_str().into()),
        _ => None,
    }
}

/// By what the endpoint is in subsets. What nothing is compared with is left out.
fn values(metadata: Option<&Metadata>) -> BTreeMap<Text, EndpointValue> {
    let fields = metadata.and_then(|metadata| metadata.filter_metadata.get(BALANCING)).map(|values| &values.fields);
    let one = |(key, wire): (&String, &Value)| {
        let value = match wire.kind.as_ref()? {
            Kind::StringValue(_) if key == HASH_KEY => return None,
            Kind::ListValue(ListValue { values }) => EndpointValue::List(values.iter().filter_map(value).collect()),
            _ => EndpointValue::One(value(wire)?),
        };
        Some((Text::from(key.as_str()), value))
    };
    fields.into_iter().flatten().filter_map(one).collect()
}

fn wire_values(value: &EndpointValue) -> Value {
    match value {
        EndpointValue::One(value) => wire_value(value),
        EndpointValue::List(values) => {
            Value { kind: Some(Kind::ListValue(ListValue { values: values.iter().map(wire_value).collect() })) }
        }
    }
}

/// Values that are no text match nothing: all that a cluster matches are texts.
fn transport_labels(metadata: Option<&Metadata>) -> BTreeMap<Text, Text> {
    let fields = metadata.and_then(|metadata| metadata.filter_metadata.get(TRANSPORT)).map(|labels| &labels.fields);
    let text = |(key, value): (&String, &Value)| match &value.kind {
        Some(Kind::StringValue(text)) => Some((Text::from(key.as_str()), Text::from(text.as_str()))),
        _ => None,
    };
    fields.into_iter().flatten().filter_map(text).collect()
}

fn metadata(
    hash_key: Option<&Text>,
    values: &BTreeMap<Text, EndpointValue>,
    labels: &BTreeMap<Text, Text>,
) -> Metadata {
    let mut metadata = Metadata::default();
    let mut fields = texts(hash_key.map(|key| (HASH_KEY, key.as_str()))).fields;
    fields.extend(values.iter().map(|(key, value)| (key.to_string(), wire_values(value))));
    if !fields.is_empty() {
        metadata.filter_metadata.insert(BALANCING.to_owned(), Struct { fields });
    }
    if !labels.is_empty() {
        let labels = texts(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        metadata.filter_metadata.insert(TRANSPORT.to_owned(), labels);
    }
    metadata
}

/// A struct of texts.
pub(in crate::envoy) fn texts<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Struct {
    let value = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    Struct { fields: pairs.into_iter().map(|(key, text)| (key.to_owned(), value(text))).collect() }
}

#[cfg(test)]
pub(super) mod tests;
