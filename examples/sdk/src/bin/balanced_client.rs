//! A tonic client over the balancer alone, without a control plane: each call goes to the better of two servers at random,
//! servers that fail are left out for a while, and a call that failed is tried again within a budget.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use mesh_core::balance::service::Balanced;
use mesh_core::balance::{
    Assignment, Balancer, Cluster, Discovery, Endpoint, LocalityEndpoints, OutlierSettings, Policy, Setup,
};
use mesh_core::name::Locality;
use mesh_core::resilience::{ReplayBody, RetryLayer};
use mesh_core::route::{RetryOn, RetryPolicy};
use tonic::body::Body;
use tonic::transport::Endpoint as Server;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Layer, ServiceExt};

/// Asks the health service of several servers, as one.
#[derive(Debug, Parser)]
struct Arguments {
    /// The servers.
    #[arg(required = true)]
    servers: Vec<SocketAddr>,
    /// How often it asks.
    #[arg(long, default_value_t = 10)]
    calls: u32,
    /// Pause between calls, in milliseconds.
    #[arg(long, default_value_t = 100)]
    pause: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let endpoints = arguments.servers.iter().map(|address| Endpoint::new(*address)).collect();
    let assignment = Assignment::new("servers", vec![LocalityEndpoints::new(Locality::default(), endpoints)]);
    let mut cluster = Cluster::new("servers", Discovery::Eds { service_name: None });
    cluster.policy = Policy::PEAK_EWMA;
    cluster.outlier = Some(OutlierSettings { max_ejection_percent: 50, ..OutlierSettings::default() });

    let now = || tokio::time::Instant::now().into_std();
    let balancer = Balancer::new(Arc::new(cluster), &assignment, Setup::default(), now());
    // One channel per server: it connects when it is used, and again when it breaks.
    let connect = |_: &Cluster, endpoint: &Endpoint| {
        let server = Server::from_shared(format!("http://{}", endpoint.address)).map(|server| server.connect_lazy());
        let channel = server.unwrap_or_else(|_| Server::from_static("http://invalid").connect_lazy());
        channel.map_request(|request: http::Request<ReplayBody<Body>>| request.map(Body::new))
    };
    let policy = RetryPolicy {
        on: RetryOn::GRPC_UNAVAILABLE.and(RetryOn::RESET).and(RetryOn::CONNECT_FAILURE),
        retries: 3,
        ..RetryPolicy::default()
    };
    let service = RetryLayer::new(policy).layer(Balanced::new(balancer, connect, now));
    let mut health = HealthClient::new(service);
    for _ in 0..arguments.calls {
        match health.check(HealthCheckRequest::default()).await {
            Ok(answer) => println!("{:?}", answer.into_inner().status()),
            Err(status) => println!("{:?}: {}", status.code(), status.message()),
        }
        tokio::time::sleep(Duration::from_millis(arguments.pause)).await;
    }
    Ok(())
}
