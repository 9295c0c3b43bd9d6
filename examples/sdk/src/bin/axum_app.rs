//! An axum application that joins the mesh with no proxy at all: it takes its identity from the Workload API, demands one of
//! its callers, and sees which.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::routing::get;
use clap::Parser;
use mesh_core::name::parse_spiffe_id;
use mesh_identity::clock::SystemClock;
use mesh_identity::serve::{Caller, Demand, Incoming};
use mesh_identity::verify::Expected;
use mesh_identity::workload_api::{Client, Endpoint};
use tokio::net::TcpListener;

/// An axum application in the mesh. The Workload API is where `SPIFFE_ENDPOINT_SOCKET` says.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// A SPIFFE ID that may call. May be repeated.
    #[arg(long, required = true)]
    allow: Vec<String>,
}

async fn hello(ConnectInfo(caller): ConnectInfo<Caller>) -> String {
    match caller.peer() {
        Some(peer) => format!("hello {}\n", peer.id()),
        None => "hello stranger\n".to_owned(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let allow = arguments.allow.iter().map(|id| parse_spiffe_id(id)).collect::<Result<_, _>>()?;
    let source = Client::connect(&Endpoint::from_env()?).source(Arc::new(SystemClock));
    let identity = source.identity().await?;

    // From here on certificates and trust renew themselves.
    let listener = TcpListener::bind(arguments.listen).await?;
    let incoming = Incoming::new(listener, identity.server_config(&[b"http/1.1"])?, &identity);
    let app = axum::Router::new().route("/", get(hello)).layer(Demand::new(Expected::Ids(allow)));
    println!("{} listens on https://{}", identity.id(), arguments.listen);
    axum::serve(incoming, app.into_make_service_with_connect_info::<Caller>()).await?;
    Ok(())
}
