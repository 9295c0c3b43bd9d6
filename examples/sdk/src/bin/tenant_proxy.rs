//! A proxy of one's own: it says to the servers which tenant a request is of, and sends a share of the requests to a canary.
#![allow(clippy::disallowed_methods, reason = "a program")]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use http::{HeaderValue, StatusCode, request};
use mesh_core::balance::{Assignment, Cluster, Discovery, Endpoint, LocalityEndpoints};
use mesh_core::config::{Assembly, Resources};
use mesh_core::filter::{Answer, Exchange, Filter, Named, Step};
use mesh_core::listener::{FilterChain, HttpManager, Listener, ListenerKind, RouteSource, SocketListener, Terminal};
use mesh_core::live::Live;
use mesh_core::name::Locality;
use mesh_core::route::{
    Action, ClusterChoice, Forward, PathMatch, Route, RouteConfig, RouteMatch, RouteTable, VirtualHost, WeightedChoice,
    WeightedCluster, WeightedClusters,
};
use mesh_transport::l7::{Extensions, Proxy, Settings};

/// Proxies HTTP, names tenants by their keys, splits traffic.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens.
    listen: SocketAddr,
    /// The servers that most requests go to.
    stable: SocketAddr,
    /// The servers that some go to.
    canary: SocketAddr,
    /// How many of a hundred.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100))]
    percent: u32,
    /// A tenant by the key that its clients send in `x-api-key`: `key=name`. May be given again.
    #[arg(long)]
    tenant: Vec<String>,
}

/// Who is who.
#[derive(Clone)]
struct Tenants(Arc<HashMap<String, HeaderValue>>);

impl Filter for Tenants {
    fn on_request(&self, head: &mut request::Parts, _: &mut Exchange) -> Step {
        let key = head.headers.remove("x-api-key");
        match key.as_ref().and_then(|key| self.0.get(key.to_str().ok()?)) {
            Some(tenant) => {
                head.headers.insert("x-tenant", tenant.clone());
                Step::Next
            }
            None => Step::Answer(Answer::new(StatusCode::UNAUTHORIZED, "unknown tenant", "tenant_unknown")),
        }
    }
}

impl Extensions for Tenants {
    fn filters(&self) -> Vec<Named> {
        vec![Named::new("tenants", self.clone())]
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { listen, stable, canary, percent, tenant } = Arguments::parse();
    let tenants = tenant.iter().filter_map(|pair| pair.split_once('='));
    let tenants = tenants.map(|(key, name)| Ok((key.to_owned(), name.parse()?)));
    let tenants = Tenants(Arc::new(tenants.collect::<Result<_, Box<dyn Error>>>()?));

    let mut resources = Resources::default();
    for (name, address) in [("stable", stable), ("canary", canary)] {
        let place = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new(address)]);
        let cluster = Cluster::new(name, Discovery::Static(Assignment::new(name, vec![place])));
        resources.clusters.insert(name.into(), Arc::new(cluster));
    }
    let clusters = vec![WeightedCluster::new("stable", 100 - percent), WeightedCluster::new("canary", percent)];
    let split = ClusterChoice::Weighted(WeightedClusters { clusters, choice: WeightedChoice::Random });
    let route = Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(Forward::new(split))));
    let host = VirtualHost { domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
    let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() })?;
    let mut socket = SocketListener::new(listen);
    let manager = HttpManager::new(RouteSource::Inline(Box::new(table)));
    socket.chains = vec![FilterChain::new(Terminal::Http(Box::new(manager)))];
    let listener = Listener { name: "in".into(), kind: ListenerKind::Socket(Box::new(socket)) };
    resources.listeners.insert("in".into(), Arc::new(listener));

    let config = Live::constant(Assembly::default().assemble(&resources, std::time::Instant::now()));
    let (proxy, driver) = Proxy::new(config, Settings { extensions: Arc::new(tenants), ..Settings::default() });
    let driving = tokio::spawn(driver);
    tokio::signal::ctrl_c().await?;
    proxy.drain(Duration::from_secs(5)).await;
    Ok(driving.await?)
}
