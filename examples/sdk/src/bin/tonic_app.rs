//! A tonic application that joins the mesh with no proxy at all: server and client of gRPC's health service, each of which
//! knows who the other is.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use mesh_core::name::parse_spiffe_id;
use mesh_identity::clock::SystemClock;
use mesh_identity::connect::Connector;
use mesh_identity::serve::{Caller, Demand, Incoming};
use mesh_identity::verify::Expected;
use mesh_identity::workload_api::{Client, Endpoint};
use tokio::net::TcpListener;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// A tonic application in the mesh. The Workload API is where `SPIFFE_ENDPOINT_SOCKET` says.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves.
    Serve {
        /// Where.
        #[arg(long, default_value = "127.0.0.1:8444")]
        listen: SocketAddr,
        /// A SPIFFE ID that may call. May be repeated.
        #[arg(long, required = true)]
        allow: Vec<String>,
    },
    /// Asks whether a server is well.
    Check {
        /// Host and port of the server.
        server: String,
        /// Who it must be.
        expect: String,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let source = Client::connect(&Endpoint::from_env()?).source(Arc::new(SystemClock));
    let identity = source.identity().await?;
    match arguments.command {
        Command::Serve { listen, allow } => {
            let allow = allow.iter().map(|id| parse_spiffe_id(id)).collect::<Result<_, _>>()?;
            let incoming =
                Incoming::new(TcpListener::bind(listen).await?, identity.server_config(&[b"h2"])?, &identity);
            let (_health, service) = tonic_health::server::health_reporter();
            println!("{} listens on {listen}", identity.id());
            tonic::transport::Server::builder()
                .layer(Demand::new(Expected::Ids(allow)))
                .layer(tower::util::MapRequestLayer::new(|request: http::Request<tonic::body::Body>| {
                    if let Some(peer) = request.extensions().get::<Caller>().and_then(Caller::peer) {
                        println!("{} calls {}", peer.id(), request.uri().path());
                    }
                    request
                }))
                .add_service(service)
                .serve_with_incoming(incoming)
                .await?;
        }
        Command::Check { server, expect } => {
            let expected = Expected::Ids(vec![parse_spiffe_id(&expect)?]);
            let connector = Connector::new(identity.client_config(expected, &[b"h2"])?);
            let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{server}"))?;
            let mut client = HealthClient::new(endpoint.connect_with_connector(connector).await?);
            let answer = client.check(HealthCheckRequest::default()).await?.into_inner();
            println!("{:?}", answer.status());
        }
    }
    Ok(())
}
