//! What both proxies are programmed with, and how each of them follows it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mesh_core::authz::rbac::{self, Permission, Principal, Rbac, RbacFilter};
use mesh_core::balance::{
    Assignment, Cluster, Discovery, Endpoint, HttpProtocol, LeastRequest, LocalityEndpoints, OutlierSettings, Policy,
};
use mesh_core::config::Resources;
use mesh_core::listener::{
    FilterChain, HttpFilter, HttpFilterKind, HttpManager, Listener, ListenerKind, RouteSource, SocketListener, Terminal,
};
use mesh_core::name::{Locality, Text};
use mesh_core::request::{Condition, HeaderMatch};
use mesh_core::route::{
    Action, DirectResponse, Forward, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig, RouteMatch, RouteTable,
    VirtualHost,
};
use mesh_core::string_match::Pattern;
use mesh_transport::l7::{AccessLog, Proxy, Record, Settings};
use mesh_xds::client::machine::{ServerTraits, Variant};
use mesh_xds::client::{Client, Group};
use mesh_xds::envoy::cluster::encode_cluster;
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::listener::encode_listener;
use mesh_xds::envoy::route::encode_route_table;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::proxy::Keeper;
use mesh_xds::server::{Access, Cache, CacheWriter, Change, Entry, Service};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Endpoint as To, Server};

use crate::Version;

/// A route by a header to two backends, of which the one with fewer requests is chosen; no path below `/admin`; retries and
/// outlier detection on. Everything else is as both have it by default.
fn resources(version: Version, listens: SocketAddr, backends: &[SocketAddr]) -> Resources {
    let no_admin = rbac::Policy {
        permissions: vec![Permission::Path(Pattern::prefix("/admin"))],
        principals: vec![Principal::Any],
    };
    let rules = Rbac { action: rbac::Action::Deny, policies: [("no-admin".into(), no_admin)].into() };
    let mut manager = HttpManager::new(RouteSource::Rds("routes".into()));
    manager.filters = vec![HttpFilter {
        name: "envoy.filters.http.rbac".into(),
        kind: HttpFilterKind::Rbac(RbacFilter { rules: Some(rules), ..RbacFilter::default() }),
        disabled: false,
    }];
    let mut socket = SocketListener::new(listens);
    socket.chains = vec![FilterChain::new(Terminal::Http(Box::new(manager)))];
    let listener = Listener { name: "in".into(), kind: ListenerKind::Socket(Box::new(socket)) };

    let mut forward = Forward::to("shop");
    let on = RetryOn::SERVER_ERROR.and(RetryOn::CONNECT_FAILURE).and(RetryOn::RESET).and(RetryOn::REFUSED_STREAM);
    forward.retry = Some(RetryPolicy { on, retries: 2, ..RetryPolicy::default() });
    let gold = HeaderMatch::new("x-tenant".parse().unwrap(), Condition::Text(Pattern::exact("gold")));
    let matcher = RouteMatch { headers: vec![gold], ..RouteMatch::new(PathMatch::prefix("/")) };
    let routes = vec![
        Route::new(matcher, Action::Forward(Box::new(forward))),
        Route::new(
            RouteMatch::new(PathMatch::prefix("/")),
            Action::Respond(DirectResponse { status: 404, body: b"no tenant".to_vec() }),
        ),
    ];
    let host = VirtualHost { name: "all".into(), domains: vec!["*".into()], routes, ..VirtualHost::default() };
    let config = RouteConfig { name: "routes".into(), hosts: vec![host], ..RouteConfig::default() };

    let mut cluster = Cluster::new("shop", Discovery::Eds { service_name: None });
    cluster.policy = Policy::LeastRequest(LeastRequest::default());
    cluster.outlier = Some(OutlierSettings::default());
    cluster.protocol = match version {
        Version::Http1 => HttpProtocol::Http1,
        Version::Http2 => HttpProtocol::Http2,
    };
    let endpoints = backends.iter().map(|address| Endpoint::new(*address)).collect();
    let assignment = Assignment::new("shop", vec![LocalityEndpoints::new(Locality::default(), endpoints)]);
    Resources {
        listeners: [("in".into(), Arc::new(listener))].into(),
        routes: [("routes".into(), Arc::new(RouteTable::new(config).unwrap()))].into(),
        clusters: [("shop".into(), Arc::new(cluster))].into(),
        assignments: [("shop".into(), Arc::new(assignment))].into(),
    }
}

const ORDER: [&str; 4] = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE];

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, _: &MetadataMap, _: &tonic::Extensions) -> Result<String, tonic::Status> {
        Ok("anyone".to_owned())
    }
}

/// A control plane that programs one proxy. It goes on as long as the writer is there.
pub(crate) async fn control(
    version: Version,
    listens: SocketAddr,
    backends: &[SocketAddr],
) -> (CacheWriter, SocketAddr) {
    let Resources { listeners, routes, clusters, assignments } = resources(version, listens, backends);
    let put = |name: &Text, body| Change::Put(name.to_string(), Entry::new(body, vec![]));
    let listeners = listeners.iter().map(|(name, value)| (LISTENER_TYPE, put(name, encode_listener(value))));
    let routes = routes.iter().map(|(name, value)| (ROUTE_TYPE, put(name, encode_route_table(value))));
    let clusters = clusters.iter().map(|(name, value)| (CLUSTER_TYPE, put(name, encode_cluster(value))));
    let assignments = assignments.iter().map(|(name, value)| (ENDPOINT_TYPE, put(name, encode_assignment(value))));
    let (writer, cache) = Cache::new(&ORDER);
    writer.apply(listeners.chain(routes).chain(clusters).chain(assignments));
    let service = Service::new(cache, Arc::new(Anyone), &ORDER);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_service(service.server()).serve_with_incoming(TcpListenerStream::new(listener)));
    (writer, at)
}

/// Our proxy, in this process, for ever.
pub(crate) async fn serve(control: SocketAddr) {
    let node = Node { id: "bench".into(), ..Node::default() };
    let groups = vec![Group::new(vec![ServerTraits::new("control", Variant::Delta)])];
    let (client, driver) = Client::new(&node, groups, BTreeMap::new(), SystemTime::now);
    let (keeper, config) = Keeper::new(&client);
    let connect = move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
        Ok((To::from_shared(format!("http://{control}"))?.connect_lazy(), MetadataMap::new()))
    };
    let settings = Settings { log: Arc::new(Statistics::default()), ..Settings::default() };
    let (_proxy, serving) = Proxy::new(config, settings);
    tokio::spawn(driver.run(vec![vec![connect]], CancellationToken::new()));
    tokio::spawn(keeper.run(CancellationToken::new()));
    // On a worker, and not on the thread that waits here.
    let _ = tokio::spawn(serving).await;
}

/// What is counted of every request, as Envoy counts: answers by class, and how long they took.
#[derive(Debug, Default)]
struct Statistics {
    classes: [AtomicU64; 10],
    took: [AtomicU64; 24],
}

impl AccessLog for Statistics {
    fn record(&self, record: &Record) {
        let class = usize::from(record.status_code() / 100) % self.classes.len();
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        let magnitude = record.took.as_micros().checked_ilog2().unwrap_or_default() as usize;
        self.took[magnitude.min(self.took.len() - 1)].fetch_add(1, Ordering::Relaxed);
    }
}

/// What Envoy begins with: where its control plane is.
pub(crate) fn envoy_bootstrap(control: SocketAddr) -> String {
    let (ip, port) = (control.ip(), control.port());
    format!(
        "node: {{id: bench, cluster: bench}}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    grpc_services: [{{envoy_grpc: {{cluster_name: control}}}}]
  lds_config: {{ads: {{}}, resource_api_version: V3}}
  cds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  clusters:
  - name: control
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: control
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}
"
    )
}

/// How long a proxy may take to be programmed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
