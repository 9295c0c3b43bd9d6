//! An axum application that enforces the mesh's authorization itself: paths get their normal form, policies are asked, and a
//! refusal says which one refused. Who calls is told by mutual TLS; the application's identity comes from the Workload API.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::response::IntoResponse;
use axum::routing::get;
use clap::Parser;
use http::{request, response};
use mesh_core::authz::http::{AuthorizationPolicy, Mesh, Operation, PolicyAction, Rule, Source, Values};
use mesh_core::filter::{Authorize, Chain, Connection, Exchange, Filter, FilterLayer, Named, NormalizePath, Step};
use mesh_core::live::Live;
use mesh_core::path::PathNormalization;
use mesh_identity::clock::SystemClock;
use mesh_identity::serve::{Caller, Incoming};
use mesh_identity::workload_api::{Client, Endpoint};
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceExt};

/// An axum application with authorization. The Workload API is where `SPIFFE_ENDPOINT_SOCKET` says.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// A SPIFFE ID, without `spiffe://`, that may read. May be repeated.
    #[arg(long, required = true)]
    reader: Vec<String>,
}

/// Tells the filters behind it who calls, and the terminal who was refused and why.
struct Introduce(SocketAddr);

impl Filter for Introduce {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        if let Some(ConnectInfo(caller)) = head.extensions.get::<ConnectInfo<Caller>>() {
            let connection = Connection::new(caller.address(), self.0);
            *exchange = Exchange::new(Arc::new(match caller.peer() {
                Some(peer) => connection.from_peer(peer.id()),
                None => connection,
            }));
        }
        Step::Next
    }

    fn on_response(&self, _: &mut response::Parts, exchange: &mut Exchange) {
        if !exchange.details.is_empty() {
            println!("{}: {}", exchange.connection.peer_uri().unwrap_or("somebody"), exchange.details);
        }
    }
}

/// Readers may GET, and nobody gets at `/admin`.
fn policies(readers: &[String]) -> Result<[AuthorizationPolicy; 2], Box<dyn Error>> {
    let from = Source { principals: Values::any_of(readers.iter().map(String::as_str)), ..Source::default() };
    let read = Operation { methods: Values::any_of(["GET"]), ..Operation::default() };
    let admin = Operation { paths: Values::any_of(["/admin", "/admin/{**}"]), ..Operation::default() };
    let readers = Rule { from: vec![from], to: vec![read], ..Rule::default() };
    let no_admin = Rule { to: vec![admin], ..Rule::default() };
    Ok([
        AuthorizationPolicy::new("apps/readers".parse()?, PolicyAction::Allow, vec![readers]),
        AuthorizationPolicy::new("apps/no-admin".parse()?, PolicyAction::Deny, vec![no_admin]),
    ])
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let source = Client::connect(&Endpoint::from_env()?).source(Arc::new(SystemClock));
    let identity = source.identity().await?;
    let listener = TcpListener::bind(arguments.listen).await?;
    let incoming = Incoming::new(listener, identity.server_config(&[b"http/1.1"])?, &identity);

    let filters = vec![
        Named::new("introduce", Introduce(arguments.listen)),
        Named::new("path", NormalizePath(PathNormalization::DECODE_AND_MERGE_SLASHES)),
        Named::new("authorize", Authorize::policies(&policies(&arguments.reader)?, &Mesh::default())),
    ];
    let app = axum::Router::new().route("/", get("hello\n")).route("/admin", get("secrets\n"));
    // Around the router, not in it: it must see the normal form too.
    let app = FilterLayer::chain(Live::constant(Chain { routes: None, filters })).layer(app);
    let app = ServiceExt::<Request>::map_response(app, IntoResponse::into_response);
    println!("{} listens on https://{}", identity.id(), arguments.listen);
    axum::serve(incoming, axum::ServiceExt::<Request>::into_make_service_with_connect_info::<Caller>(app)).await?;
    Ok(())
}
