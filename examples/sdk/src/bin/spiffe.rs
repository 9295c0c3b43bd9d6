//! What a process sees of the Workload API: its SVIDs, bundles and tokens; and mutual TLS with them. The endpoint is
//! `SPIFFE_ENDPOINT_SOCKET`.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mesh_core::name::parse_spiffe_id;
use mesh_core::report::chain;
use mesh_identity::clock::SystemClock;
use mesh_identity::serve::Incoming;
use mesh_identity::source::JwtSource;
use mesh_identity::task::Tasks;
use mesh_identity::verify::{self, Audiences, Expected};
use mesh_identity::workload_api::{Client, Endpoint, WorkloadSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// A process of the Workload API.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seconds to wait for an identity.
    #[arg(long, default_value_t = 10)]
    wait: u64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the SVIDs and the trust domains that are verified.
    Show,
    /// Prints each new serial number of the default SVID, until it is ended.
    Watch,
    /// Prints a token for an audience.
    Token {
        /// For whom it is.
        audience: String,
    },
    /// Verifies a token with the bundles that the Workload API gives, here, and prints its subject.
    Verify {
        /// Who we are to the token.
        audience: String,
        /// The token.
        token: String,
    },
    /// Lets the Workload API verify a token, and prints its subject.
    Validate {
        /// Who we are to the token.
        audience: String,
        /// The token.
        token: String,
    },
    /// Serves mutual TLS: says to each caller who it is, line by line.
    Listen {
        /// Where.
        address: SocketAddr,
        /// Who may call; anybody who is trusted, when nobody is named.
        #[arg(long)]
        allow: Vec<String>,
    },
    /// Calls a server of mutual TLS and prints what it says, so many times.
    Connect {
        /// Where.
        address: String,
        /// Who it must be.
        expect: String,
        /// How often.
        #[arg(long, default_value_t = 1)]
        times: usize,
        /// Milliseconds between two calls.
        #[arg(long, default_value_t = 0)]
        pause: u64,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let client = Client::connect(&Endpoint::from_env()?);
    let source = client.clone().source(Arc::new(SystemClock));
    let identity = tokio::time::timeout(Duration::from_secs(arguments.wait), source.identity());
    let identity = identity.await.map_err(|_| "no identity in time")?.map_err(|error| chain(&*error))?;
    match arguments.command {
        Command::Show => {
            for (hint, svid) in &source.context().load().svids {
                println!("{} {} certificates {hint}", svid.id(), svid.chain().len());
            }
            for bundle in source.bundles().load().iter() {
                println!("trusts {} {} authorities", bundle.trust_domain(), bundle.authorities().len());
            }
        }
        Command::Watch => {
            let mut changes = identity.state().changes();
            loop {
                let serial = identity.svid().map(|svid| svid.serial().to_owned());
                println!("{}", serial.unwrap_or_else(|| "none".to_owned()));
                changes.changed().await?;
            }
        }
        Command::Token { audience } => {
            keys(&source).await;
            println!("{}", source.fetch_token(identity.id(), &[audience], None).await.map_err(|e| chain(&e))?.token());
        }
        Command::Verify { audience, token } => {
            keys(&source).await;
            let now = identity.now();
            println!("{}", verify::jwt(&token, &source.bundles().load(), &Audiences::new([audience])?, now)?.id());
        }
        Command::Validate { audience, token } => println!("{}", client.validate_jwt(&audience, &token).await?),
        Command::Listen { address, allow } => {
            let allow = allow.iter().map(|id| parse_spiffe_id(id)).collect::<Result<Vec<_>, _>>()?;
            let allow = if allow.is_empty() { Expected::Anyone } else { Expected::Ids(allow) };
            let config = identity.server_config(&[])?;
            let mut incoming = Incoming::new(TcpListener::bind(address).await?, config, &identity);
            println!("{} listens", identity.id());
            let tasks = Tasks::default();
            while let Some(mut connection) = incoming.next().await {
                let allow = allow.clone();
                tasks.spawn(async move {
                    let Some(peer) = connection.caller().peer().cloned() else { return };
                    let answer = match allow.check(&peer) {
                        Ok(()) => format!("hello {}\n", peer.id()),
                        Err(error) => format!("{error}\n"),
                    };
                    let mut line = [0; 64];
                    if connection.write_all(answer.as_bytes()).await.is_ok() {
                        let _ = connection.flush().await;
                        // Till the caller has gone.
                        while connection.read(&mut line).await.is_ok_and(|read| read > 0) {}
                    }
                    let _ = connection.shutdown().await;
                });
            }
        }
        Command::Connect { address, expect, times, pause } => {
            let expected = Expected::Ids(vec![parse_spiffe_id(&expect)?]);
            let connector = TlsConnector::from(identity.client_config(expected, &[])?);
            for _ in 0..times {
                let tcp = TcpStream::connect(&address).await?;
                let tls = connector.connect("spiffe".try_into()?, tcp).await;
                let mut tls =
                    tls.map_err(|error| verify::rejection(&error).map_or_else(|| chain(&error), |e| chain(e)))?;
                let mut line = Vec::new();
                while !line.ends_with(b"\n") {
                    let mut byte = [0; 1];
                    if tls.read(&mut byte).await? == 0 {
                        break;
                    }
                    line.extend(byte);
                }
                print!("{}", String::from_utf8_lossy(&line));
                let _ = tls.shutdown().await;
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }
    Ok(())
}

/// Waits until the keys of tokens are known: they come beside the certificates.
async fn keys(source: &WorkloadSource) {
    let mut changes = source.bundles().changes();
    let known = |source: &WorkloadSource| source.bundles().load().iter().any(|one| !one.jwt_authorities().is_empty());
    while !known(source) {
        if tokio::time::timeout(Duration::from_secs(2), changes.changed()).await.is_err() {
            return;
        }
    }
}
