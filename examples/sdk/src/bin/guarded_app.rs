//! An axum application that asks an external authorizer and the rate limit service about its requests, by the same filters
//! that a waypoint has. Requests are counted by their header `x-tenant`, and by their parameter `user` in the tier `free`.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::routing::get;
use clap::Parser;
use mesh_core::companion::GrpcService;
use mesh_core::companion::ext_authz::{ExternalAuthorization, ExternalAuthz, Service};
use mesh_core::companion::rate_limit::{GlobalRateLimit, GlobalRateLimiting};
use mesh_core::filter::{Chain, FilterLayer, Named};
use mesh_core::live::Live;
use mesh_core::route::{CheckBody, DescriptorAction, RateLimit};
use mesh_identity::clock::{Clock, SystemClock};
use mesh_xds::companion::{GrpcAuthorizer, GrpcRateLimiter};
use tokio::net::TcpListener;
use tonic::transport::Endpoint;

/// An axum application behind an external authorizer and the rate limit service.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// An authorizer (`envoy.service.auth.v3`), such as `http://127.0.0.1:9191`.
    #[arg(long)]
    authorizer: Option<String>,
    /// A rate limit service (`envoy.service.ratelimit.v3`), such as `http://127.0.0.1:8081`.
    #[arg(long)]
    rate_limiter: Option<String>,
    /// Whether requests pass when the authorizer gives no answer.
    #[arg(long)]
    fail_open: bool,
}

/// What the application sees of a request: who the authorizer says it is from.
async fn hello(request: Request) -> String {
    let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
    format!("hello {} at {}\n", user.unwrap_or("stranger"), request.uri())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut filters = Vec::new();
    let limit = Some(Duration::from_secs(1));
    if let Some(uri) = arguments.authorizer {
        let service = GrpcService::new("authorizer", limit);
        let authorizer =
            GrpcAuthorizer::new(Endpoint::from_shared(uri)?.connect_lazy(), &service, || SystemClock.now());
        let mut settings = ExternalAuthz::new(Service::Grpc(service));
        settings.failure.allow = arguments.fail_open;
        settings.body = Some(CheckBody { max_bytes: 1024, allow_partial: true, as_bytes: false });
        filters.push(Named::new("authorizer", ExternalAuthorization::new(settings, Arc::new(authorizer))));
    }
    if let Some(uri) = arguments.rate_limiter {
        let service = GrpcService::new("limiter", limit);
        let limiter = GrpcRateLimiter::new(Endpoint::from_shared(uri)?.connect_lazy(), &service);
        let tenant =
            DescriptorAction::RequestHeader { name: "x-tenant".parse()?, key: "tenant".into(), skip_if_absent: false };
        let tier = DescriptorAction::GenericKey { key: "tier".into(), value: "free".into() };
        let user = DescriptorAction::QueryParameter { name: "user".into(), key: "user".into(), skip_if_absent: false };
        let limits = [vec![tenant], vec![tier, user]].map(|actions| RateLimit { actions, ..RateLimit::default() });
        let settings =
            GlobalRateLimit { limits: limits.into(), headers: true, ..GlobalRateLimit::new("shop", service) };
        filters.push(Named::new("limiter", GlobalRateLimiting::new(settings, "shop", Arc::new(limiter))));
    }
    let guard = FilterLayer::chain(Live::constant(Chain { routes: None, filters }));
    let app = axum::Router::new().route("/{*path}", get(hello).post(hello)).layer(guard);
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("listens on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
