//! Resources as gRPC takes them.

use envoy_types::pb::envoy::config::cluster::v3::Cluster as WireCluster;
use envoy_types::pb::envoy::config::cluster::v3::LoadBalancingPolicy;
use envoy_types::pb::envoy::config::cluster::v3::load_balancing_policy::Policy as Entry;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
use envoy_types::pb::envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{CommonTlsContext, UpstreamTlsContext};
use mesh_core::balance::{Cluster, Localities, Policy};
use mesh_xds::envoy::cluster::encode_cluster;
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::listener::encode_listener;
use mesh_xds::envoy::route::encode_route_table;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};
use mesh_xds::server::{Change, Entry as Resource};
use prost::{Message, Name};

use super::{Named, Value};
use crate::translate::waypoint::envoy::{any, read};

/// What becomes of the resources of a name.
#[must_use]
pub fn changes(named: &Named, value: Option<&Value>) -> Vec<(&'static str, Change)> {
    let put = |name: &str, bytes: Vec<u8>| Change::Put(name.to_owned(), Resource::new(bytes, Vec::new()));
    let remove = |name: &str| Change::Remove(name.to_owned());
    match (named, value) {
        (Named::Listener(name), Some(Value::Listener(listener))) => {
            vec![(LISTENER_TYPE, put(name.as_str(), encode_listener(listener)))]
        }
        (Named::Routes(name), Some(Value::Routes(table))) => {
            vec![(ROUTE_TYPE, put(name.as_str(), encode_route_table(table)))]
        }
        (Named::Cluster(name), Some(Value::Cluster(made))) => {
            let assignment = made.assignment.as_ref().map(|all| put(name.as_str(), encode_assignment(all)));
            vec![
                (CLUSTER_TYPE, put(name.as_str(), cluster(&made.cluster))),
                (ENDPOINT_TYPE, assignment.unwrap_or_else(|| remove(name.as_str()))),
            ]
        }
        (Named::Listener(name), _) => vec![(LISTENER_TYPE, remove(name.as_str()))],
        (Named::Routes(name), _) => vec![(ROUTE_TYPE, remove(name.as_str()))],
        (Named::Cluster(name), _) => {
            vec![(CLUSTER_TYPE, remove(name.as_str())), (ENDPOINT_TYPE, remove(name.as_str()))]
        }
    }
}

fn cluster(cluster: &Cluster) -> Vec<u8> {
    let bytes = encode_cluster(cluster);
    let Ok(mut wire) = WireCluster::decode(bytes.as_slice()) else { return bytes };
    if let Some(balancing) = wire.load_balancing_policy.take() {
        wire.load_balancing_policy = Some(understood(balancing, cluster));
    }
    let socket = wire.transport_socket.as_mut().and_then(|socket| socket.config_type.as_mut());
    if let Some(ConfigType::TypedConfig(config)) = socket
        && let Some(mut context) = read::<UpstreamTlsContext>(config)
    {
        context.common_tls_context.iter_mut().for_each(tls);
        *config = any(&context);
    }
    wire.encode_to_vec()
}

/// The policies of which a client takes the first that it has. In turn is what all have.
fn understood(mut balancing: LoadBalancingPolicy, cluster: &Cluster) -> LoadBalancingPolicy {
    if matches!(cluster.policy, Policy::RingHash(_) | Policy::PickFirst { .. }) {
        return balancing;
    }
    if !matches!(cluster.policy, Policy::RoundRobin { .. }) {
        balancing.policies.push(entry(&RoundRobin::default()));
    }
    if cluster.localities != Localities::Weighted {
        return balancing;
    }
    LoadBalancingPolicy { policies: vec![entry(&WrrLocality { endpoint_picking_policy: Some(balancing) })] }
}

fn entry<T: Message + Name>(policy: &T) -> Entry {
    let config = TypedExtensionConfig { name: T::NAME.to_owned(), typed_config: Some(any(policy)) };
    Entry { typed_extension_config: Some(config) }
}

/// gRPC rejects what versions are asked for, as its own are 1.2 and above, and reads names only where they stood before their
/// kinds were said.
fn tls(common: &mut CommonTlsContext) {
    common.tls_params = None;
    let Some(ValidationContextType::ValidationContext(validation)) = &mut common.validation_context_type else {
        return;
    };
    let typed = std::mem::take(&mut validation.match_typed_subject_alt_names);
    #[allow(deprecated, reason = "gRPC reads no other field")]
    validation.match_subject_alt_names.extend(typed.into_iter().filter_map(|name| name.matcher));
}
