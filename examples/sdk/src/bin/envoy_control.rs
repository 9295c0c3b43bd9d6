//! A control plane for Envoys and for gRPC's own clients in one file: listeners, a route, clusters and their endpoints, from a
//! text file that is followed. It is taken by either variant of the protocol, and what is rejected is printed.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, Locality, SocketAddress,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Filter, FilterChain, Listener};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, WeightedCluster,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType as HttpConfig;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds,
};
use envoy_types::pb::google::protobuf::{Any, Duration as Span, UInt32Value};
use mesh_xds::server::{Access, Cache, CacheWriter, Entry, Service};
use prost::{Message, Name};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

/// A control plane for Envoy and gRPC.
///
/// The file holds lines: `listen ADDRESS` (a listener of Envoy), `api NAME` (what gRPC calls `xds:///NAME`), `cluster NAME
/// ADDRESS…`, `route CLUSTER…` (or `route CLUSTER=WEIGHT…`). `broken` before the first two makes one that is rejected.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where Envoys and gRPC's clients connect.
    #[arg(long, default_value = "127.0.0.1:18000")]
    listen: SocketAddr,
    /// The file.
    file: PathBuf,
}

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

/// What must be there first, before what refers to it.
const ORDER: [&str; 4] = [CLUSTER, ENDPOINT, LISTENER, ROUTE];

#[derive(Debug)]
struct Anybody;

impl Access for Anybody {
    fn admit(&self, _metadata: &MetadataMap, _extensions: &Extensions) -> Result<String, Status> {
        Ok("envoy".to_owned())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let (writer, cache) = Cache::new(&ORDER);
    publish(&writer, &std::fs::read_to_string(&arguments.file)?)?;
    let service = Service::new(cache, Arc::new(Anybody), &ORDER);
    tokio::spawn(follow(writer, arguments.file));
    println!("ready");
    tonic::transport::Server::builder().add_service(service.server()).serve(arguments.listen).await?;
    Ok(())
}

/// Looks at the file ten times a second: no notification tells alike, on every system, of a file that is written and of one that is
/// put in its place.
async fn follow(writer: CacheWriter, path: PathBuf) {
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let mut before = None;
    loop {
        looks.tick().await;
        let now = std::fs::read_to_string(&path).map_err(|error| error.to_string());
        if before.as_ref() == Some(&now) {
            continue;
        }
        let published = now
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|text| publish(&writer, text).map_err(|error| error.to_string()));
        if let Err(error) = published {
            tracing::error!(%error, "the last good state stays");
        }
        before = Some(now);
    }
}

/// Publishes what the text says; what is the same is no change.
fn publish(writer: &CacheWriter, text: &str) -> Result<(), Box<dyn Error>> {
    let (mut clusters, mut endpoints, mut listeners, mut routes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["listen", at] => listeners.push(entry("listener", &listener("listener", at.parse()?, &manager(false)))),
            ["broken", "listen", at] => {
                listeners.push(entry("broken", &listener("broken", at.parse()?, &manager(true))));
            }
            ["api", name] => listeners.push(entry(name, &api(name, &manager(false)))),
            ["broken", "api", name] => listeners.push(entry(name, &api(name, &manager(true)))),
            ["route", clusters @ ..] => routes.push(entry("route", &route(clusters)?)),
            ["cluster", name, at @ ..] => {
                clusters.push(entry(name, &cluster(name)));
                let at = at.iter().map(|at| at.parse()).collect::<Result<Vec<_>, _>>()?;
                endpoints.push(entry(name, &assignment(name, &at)));
            }
            [] => {}
            other => return Err(format!("`{}` is not understood", other.join(" ")).into()),
        }
    }
    writer.replace([(CLUSTER, clusters), (ENDPOINT, endpoints), (LISTENER, listeners), (ROUTE, routes)]);
    Ok(())
}

fn entry(name: &str, message: &impl Message) -> (String, Entry) {
    (name.to_owned(), Entry::new(message.encode_to_vec(), Vec::new()))
}

fn any<T: Message + Name>(message: &T) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", T::full_name()), value: message.encode_to_vec() }
}

fn by_ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

fn address(at: SocketAddr) -> Address {
    let socket = SocketAddress {
        address: at.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(at.port().into())),
        ..SocketAddress::default()
    };
    Address { address: Some(Place::SocketAddress(socket)) }
}

/// What serves HTTP by the route; `broken`: with a filter that nobody has.
fn manager(broken: bool) -> Any {
    let mut config = any(&Router::default());
    if broken {
        config.type_url = "type.googleapis.com/nobody.knows.This".to_owned();
    }
    let router = HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(HttpConfig::TypedConfig(config)),
        ..HttpFilter::default()
    };
    any(&HttpConnectionManager {
        stat_prefix: "ingress".to_owned(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(by_ads()),
            route_config_name: "route".to_owned(),
        })),
        http_filters: vec![router],
        ..HttpConnectionManager::default()
    })
}

fn listener(name: &str, at: SocketAddr, manager: &Any) -> Listener {
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(ConfigType::TypedConfig(manager.clone())),
    };
    Listener {
        name: name.to_owned(),
        address: Some(address(at)),
        filter_chains: vec![FilterChain { filters: vec![filter], ..FilterChain::default() }],
        ..Listener::default()
    }
}

fn api(name: &str, manager: &Any) -> Listener {
    Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener { api_listener: Some(manager.clone()) }),
        ..Listener::default()
    }
}

fn route(clusters: &[&str]) -> Result<RouteConfiguration, Box<dyn Error>> {
    let weighted = |text: &&str| -> Result<ClusterWeight, Box<dyn Error>> {
        let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
        let value = weight.parse().map_err(|_| format!("the weight in `{text}` is not a number"))?;
        Ok(ClusterWeight { name: name.to_owned(), weight: Some(UInt32Value { value }), ..ClusterWeight::default() })
    };
    let clusters = clusters.iter().map(weighted).collect::<Result<Vec<_>, _>>()?;
    let to = ClusterSpecifier::WeightedClusters(WeightedCluster { clusters, ..WeightedCluster::default() });
    let action = RouteAction { cluster_specifier: Some(to), ..RouteAction::default() };
    let all = RouteMatch { path_specifier: Some(PathSpecifier::Prefix(String::new())), ..RouteMatch::default() };
    let route = Route { r#match: Some(all), action: Some(Action::Route(action)), ..Route::default() };
    let host = VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    Ok(RouteConfiguration { name: "route".to_owned(), virtual_hosts: vec![host], ..RouteConfiguration::default() })
}

fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(by_ads()), ..EdsClusterConfig::default() }),
        connect_timeout: Some(Span { seconds: 1, nanos: 0 }),
        ..Cluster::default()
    }
}

fn assignment(name: &str, at: &[SocketAddr]) -> ClusterLoadAssignment {
    let endpoint = |at: &SocketAddr| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(address(*at)),
            ..Endpoint::default()
        })),
        load_balancing_weight: Some(UInt32Value { value: 1 }),
        ..LbEndpoint::default()
    };
    // gRPC rejects endpoints without a locality, and ignores a locality without a weight.
    let locality = LocalityLbEndpoints {
        locality: Some(Locality::default()),
        lb_endpoints: at.iter().map(endpoint).collect(),
        load_balancing_weight: Some(UInt32Value { value: 1 }),
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![locality],
        ..ClusterLoadAssignment::default()
    }
}
