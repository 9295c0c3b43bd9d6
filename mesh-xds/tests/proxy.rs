//! All that a proxy is told, as it follows a server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::balance::{Assignment, Cluster, Discovery, Dns, DnsHost, Endpoint, LocalityEndpoints, Request};
use mesh_core::config::Config;
use mesh_core::listener::{FilterChain, HttpManager, Listener, ListenerKind, RouteSource, SocketListener, Terminal};
use mesh_core::live::Live;
use mesh_core::name::Locality;
use mesh_core::route::{RouteConfig, RouteTable, VirtualHost};
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

const ORDER: [&str; 4] = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE];

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, _: &MetadataMap, _: &tonic::Extensions) -> Result<String, tonic::Status> {
        Ok("somebody".into())
    }
}

async fn follow(variant: Variant) -> (CacheWriter, Live<Config>) {
    let (writer, cache) = Cache::new(&ORDER);
    let service = Service::new(cache, Arc::new(Anyone), &ORDER);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_service(service.server()).serve_with_incoming(TcpListenerStream::new(listener)));
    let node = Node { id: "n".into(), ..Node::default() };
    let groups = vec![Group::new(vec![ServerTraits::new("s", variant)])];
    let (client, driver) = Client::new(&node, groups, BTreeMap::new(), SystemTime::now);
    let (keeper, config) = Keeper::new(&client);
    let connect = move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
        Ok((To::from_shared(format!("http://{at}"))?.connect_lazy(), MetadataMap::new()))
    };
    tokio::spawn(driver.run(vec![vec![connect]], CancellationToken::new()));
    tokio::spawn(keeper.run(CancellationToken::new()));
    (writer, config)
}

fn put(name: &str, body: Vec<u8>) -> Change {
    Change::Put(name.into(), Entry::new(body, vec![]))
}

fn assignment(name: &str, address: &str) -> Vec<u8> {
    let endpoints = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new(address.parse().unwrap())]);
    encode_assignment(&Assignment::new(name, vec![endpoints]))
}

fn picked(config: &Config, cluster: &str) -> Option<String> {
    let upstream = config.clusters.get(cluster)?;
    let mut rng = fastrand::Rng::with_seed(1);
    let now = tokio::time::Instant::now().into_std();
    upstream.pick(&Request::default(), &mut rng, now).ok().map(|(pick, _)| pick.address().to_string())
}

/// Waits until the configuration is as it should be.
async fn comes(config: &Live<Config>, what: &str, is: impl Fn(&Config) -> bool) {
    let mut changes = config.changes();
    let waiting = async {
        while !is(&config.snapshot()) {
            changes.changed().await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), waiting).await.is_ok(), "{what} does not come");
}

fn routes(host: &str) -> Vec<u8> {
    let host = VirtualHost { name: "h".into(), domains: vec![host.into()], ..VirtualHost::default() };
    let config = RouteConfig { name: "r".into(), hosts: vec![host], ..RouteConfig::default() };
    encode_route_table(&RouteTable::new(config).unwrap())
}

fn host(config: &Config) -> Option<String> {
    let (_, table) = config.listeners.get("in")?.managers().next()?;
    Some(table.config().hosts.first()?.domains.first()?.to_string())
}

async fn follows(variant: Variant) {
    let (writer, config) = follow(variant).await;
    let manager = HttpManager::new(RouteSource::Rds("r".into()));
    let mut socket = SocketListener::new("127.0.0.1:80".parse().unwrap());
    socket.chains = vec![FilterChain::new(Terminal::Http(Box::new(manager)))];
    let listener = Listener { name: "in".into(), kind: ListenerKind::Socket(Box::new(socket)) };
    let shop = Cluster::new("shop", Discovery::Eds { service_name: None });
    let name = DnsHost { name: "127.0.0.9".into(), port: 80 };
    let hosts = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new(name)]);
    let named = Cluster::new("named", Discovery::StrictDns(Dns::new(Assignment::new("named", vec![hosts]))));
    writer.apply([
        (LISTENER_TYPE, put("in", encode_listener(&listener))),
        (ROUTE_TYPE, put("r", routes("first"))),
        (CLUSTER_TYPE, put("shop", encode_cluster(&shop))),
        (CLUSTER_TYPE, put("named", encode_cluster(&named))),
        (ENDPOINT_TYPE, put("shop", assignment("shop", "10.0.0.1:80"))),
    ]);
    comes(&config, "the whole", |config| {
        host(config).as_deref() == Some("first")
            && picked(config, "shop").as_deref() == Some("10.0.0.1:80")
            && picked(config, "named").as_deref() == Some("127.0.0.9:80")
    })
    .await;

    writer.apply([
        (ROUTE_TYPE, put("r", routes("second"))),
        (ENDPOINT_TYPE, put("shop", assignment("shop", "10.0.0.2:80"))),
    ]);
    comes(&config, "the change", |config| {
        host(config).as_deref() == Some("second") && picked(config, "shop").as_deref() == Some("10.0.0.2:80")
    })
    .await;

    writer.apply([(CLUSTER_TYPE, Change::Remove("shop".into())), (ENDPOINT_TYPE, Change::Remove("shop".into()))]);
    comes(&config, "the removal", |config| !config.clusters.contains_key("shop")).await;
    // What comes back is watched anew.
    writer.apply([
        (CLUSTER_TYPE, put("shop", encode_cluster(&shop))),
        (ENDPOINT_TYPE, put("shop", assignment("shop", "10.0.0.3:80"))),
    ]);
    comes(&config, "the return", |config| picked(config, "shop").as_deref() == Some("10.0.0.3:80")).await;
}

#[tokio::test]
async fn a_proxy_follows_its_server_by_delta() {
    follows(Variant::Delta).await;
}

#[tokio::test]
async fn a_proxy_follows_its_server_by_the_state_of_the_world() {
    follows(Variant::StateOfTheWorld).await;
}
