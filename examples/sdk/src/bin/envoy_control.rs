//! A control plane for Envoys and for gRPC's own clients in one file: listeners, a route, clusters and their endpoints, from a
//! text file that is followed. It is taken by either variant of the protocol, and what is rejected is printed.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use envoy_types::pb::envoy::config::listener::v3::Listener as WireListener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType as HttpConfig;
use mesh_core::balance::{
    Assignment, Cluster, Discovery, Endpoint, LocalityEndpoints, OutlierSettings, Policy, RingHash,
};
use mesh_core::listener::{FilterChain, HttpManager, Listener, ListenerKind, RouteSource, SocketListener, Terminal};
use mesh_core::name::Locality;
use mesh_core::request::{Condition, Field, HeaderMatch};
use mesh_core::route::{
    Action, ClusterChoice, Forward, HashKey, HashPolicy, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig,
    RouteMatch, RouteTable, VirtualHost, WeightedChoice, WeightedCluster, WeightedClusters,
};
use mesh_core::string_match::Pattern;
use mesh_xds::envoy::cluster::encode_cluster;
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::listener::encode_listener;
use mesh_xds::envoy::route::encode_route_table;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};
use mesh_xds::server::{Access, Cache, CacheWriter, Entry, Service};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

/// A control plane for Envoy and gRPC.
///
/// The file holds lines:
///
/// `listen ADDRESS`: a listener of Envoy; `api NAME`: what gRPC calls `xds:///NAME`. `broken` before either makes one that is
/// rejected.
///
/// `cluster NAME ADDRESS…`; `breaker CLUSTER N`: no more than N requests at once; `outlier CLUSTER`: endpoints that fail more
/// than half of their requests are left out.
///
/// `route CLUSTER…` (or `CLUSTER=WEIGHT…`): for all requests; `match NAME=VALUE CLUSTER…`: first, for those with this header;
/// `retry N`: as often, if the server is unavailable; `ring HEADER`: requests of one value go to one endpoint.
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Arguments {
    /// Where Envoys and gRPC's clients connect.
    #[arg(long, default_value = "127.0.0.1:18000")]
    listen: SocketAddr,
    /// The file.
    file: PathBuf,
}

/// What must be there first, before what refers to it.
const ORDER: [&str; 4] = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE];

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
    let mut state = State::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        state.add(&words).map_err(|error| format!("`{}`: {error}", words.join(" ")))?;
    }
    state.publish(writer)
}

/// What the lines of the file say.
#[derive(Default)]
struct State {
    listeners: Vec<(String, Vec<u8>)>,
    routes: Vec<Route>,
    default: Option<Route>,
    retry: Option<RetryPolicy>,
    ring: Option<Field>,
    clusters: BTreeMap<String, (Cluster, Assignment)>,
}

impl State {
    fn add(&mut self, words: &[&str]) -> Result<(), Box<dyn Error>> {
        match words {
            ["listen", at] => self.listeners.push(("listener".to_owned(), encode_listener(&socket("listener", at)?))),
            ["broken", "listen", at] => self.listeners.push(("broken".to_owned(), broken(&socket("broken", at)?)?)),
            ["api", name] => self.listeners.push(((*name).to_owned(), encode_listener(&api(name)))),
            ["broken", "api", name] => self.listeners.push(((*name).to_owned(), broken(&api(name))?)),
            ["route", clusters @ ..] => self.default = Some(route(clusters)?),
            ["match", header, clusters @ ..] => {
                let (name, value) = header.split_once('=').ok_or("a header is NAME=VALUE")?;
                let mut route = route(clusters)?;
                let value = Condition::Text(Pattern::exact(value));
                route.matcher.headers.push(HeaderMatch::new(name.parse()?, value));
                self.routes.push(route);
            }
            ["retry", retries] => {
                let (on, retries) = (RetryOn::GRPC_UNAVAILABLE.and(RetryOn::GATEWAY_ERROR), retries.parse()?);
                self.retry = Some(RetryPolicy { on, retries, ..RetryPolicy::default() });
            }
            ["ring", header] => self.ring = Some(header.parse()?),
            ["cluster", name, at @ ..] => {
                let endpoints =
                    at.iter().map(|at| Ok(Endpoint::new(at.parse()?))).collect::<Result<_, Box<dyn Error>>>()?;
                let assignment = Assignment::new(*name, vec![LocalityEndpoints::new(Locality::default(), endpoints)]);
                self.clusters.insert((*name).to_owned(), (cluster(name), assignment));
            }
            ["breaker", name, requests] => self.cluster(name)?.circuit.default.max_requests = requests.parse()?,
            ["outlier", name] => self.cluster(name)?.outlier = Some(outlier()),
            [] => {}
            _ => return Err("not understood".into()),
        }
        Ok(())
    }

    fn cluster(&mut self, name: &str) -> Result<&mut Cluster, Box<dyn Error>> {
        Ok(self.clusters.get_mut(name).map(|(cluster, _)| cluster).ok_or("no such cluster above")?)
    }

    fn publish(self, writer: &CacheWriter) -> Result<(), Box<dyn Error>> {
        let Self { listeners, mut routes, default, retry, ring, clusters } = self;
        routes.extend(default);
        for route in &mut routes {
            if let (Action::Forward(forward), Some(header)) = (&mut route.action, &ring) {
                let key = HashKey::Header { name: header.clone(), rewrite: None };
                forward.hash.push(HashPolicy { key, terminal: false });
            }
        }
        let mut tables = Vec::new();
        if !routes.is_empty() {
            let (name, domains) = ("all".into(), vec!["*".into()]);
            let host = VirtualHost { name, domains, routes, retry, ..VirtualHost::default() };
            let config = RouteConfig { name: "route".into(), hosts: vec![host], ..RouteConfig::default() };
            tables.push(entry("route", encode_route_table(&RouteTable::new(config)?)));
        }
        let (mut services, mut endpoints) = (Vec::new(), Vec::new());
        for (name, (mut cluster, assignment)) in clusters {
            if ring.is_some() {
                cluster.policy = Policy::RingHash(RingHash::default());
            }
            services.push(entry(&name, encode_cluster(&cluster)));
            endpoints.push(entry(&name, encode_assignment(&assignment)));
        }
        let listeners = listeners.into_iter().map(|(name, bytes)| entry(&name, bytes)).collect();
        let resources =
            [(CLUSTER_TYPE, services), (ENDPOINT_TYPE, endpoints), (LISTENER_TYPE, listeners), (ROUTE_TYPE, tables)];
        writer.replace(resources);
        Ok(())
    }
}

fn entry(name: &str, bytes: Vec<u8>) -> (String, Entry) {
    (name.to_owned(), Entry::new(bytes, Vec::new()))
}

/// What serves HTTP by the route.
fn manager() -> Box<HttpManager> {
    Box::new(HttpManager::new(RouteSource::Rds("route".into())))
}

fn socket(name: &str, at: &str) -> Result<Listener, Box<dyn Error>> {
    let mut socket = SocketListener::new(at.parse()?);
    socket.chains.push(FilterChain::new(Terminal::Http(manager())));
    Ok(Listener { name: name.into(), kind: ListenerKind::Socket(Box::new(socket)) })
}

fn api(name: &str) -> Listener {
    Listener { name: name.into(), kind: ListenerKind::Api(manager()) }
}

/// The listener with a filter that nobody has, which is more than the model can say.
fn broken(listener: &Listener) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut message = WireListener::decode(encode_listener(listener).as_slice())?;
    let api = message.api_listener.iter_mut().filter_map(|api| api.api_listener.as_mut());
    let filters = message.filter_chains.iter_mut().flat_map(|chain| &mut chain.filters);
    let managers = filters.filter_map(|filter| match &mut filter.config_type {
        Some(ConfigType::TypedConfig(config)) => Some(config),
        _ => None,
    });
    for config in api.chain(managers) {
        let mut manager = HttpConnectionManager::decode(config.value.as_slice())?;
        for filter in &mut manager.http_filters {
            if let Some(HttpConfig::TypedConfig(config)) = &mut filter.config_type {
                config.type_url = "type.googleapis.com/nobody.knows.This".to_owned();
            }
        }
        config.value = manager.encode_to_vec();
    }
    Ok(message.encode_to_vec())
}

/// A route for all requests to clusters, each with its weight.
fn route(clusters: &[&str]) -> Result<Route, Box<dyn Error>> {
    let weighted = |text: &&str| -> Result<WeightedCluster, Box<dyn Error>> {
        let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
        Ok(WeightedCluster::new(name, weight.parse().map_err(|_| "a weight is a number")?))
    };
    let clusters = clusters.iter().map(weighted).collect::<Result<_, _>>()?;
    let to = ClusterChoice::Weighted(WeightedClusters { clusters, choice: WeightedChoice::Random });
    Ok(Route::new(RouteMatch::new(PathMatch::prefix("")), Action::Forward(Box::new(Forward::new(to)))))
}

fn cluster(name: &str) -> Cluster {
    let mut cluster = Cluster::new(name, Discovery::Eds { service_name: None });
    cluster.connect_timeout = Duration::from_secs(1);
    cluster.policy = Policy::RoundRobin { slow_start: None };
    cluster
}

/// By the share of requests that fail alone: gRPC does not count failures in a row.
fn outlier() -> OutlierSettings {
    OutlierSettings {
        interval: Duration::from_secs(1),
        max_ejection_percent: 50,
        consecutive_5xx: 0,
        enforcing_success_rate: 0,
        failure_percentage_threshold: 50,
        failure_percentage_minimum_hosts: 2,
        failure_percentage_request_volume: 5,
        enforcing_failure_percentage: 100,
        ..OutlierSettings::default()
    }
}
