//! A tonic program that finds its servers by xDS, without any proxy: it asks the health service of `xds:///name` for a while
//! and writes down who answered each time. Its servers are named by gRPC's own bootstrap file.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for a terminal")]

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use mesh_xds::channel::{Channel, Plaintext};
use mesh_xds::client::StatusService;
use mesh_xds::client::bootstrap::{Bootstrap, Credentials, Server};
use mesh_xds::client::machine::Variant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Asks the health service of an xDS name.
#[derive(Debug, Parser)]
struct Arguments {
    /// Whom to ask, such as xds:///shop.
    target: String,
    /// For how many seconds.
    seconds: u64,
    /// Where who answered is written, a line each.
    answers: PathBuf,
    /// Speak the delta variant of the protocol.
    #[arg(long)]
    delta: bool,
    /// Headers to send with each call, `name: value`.
    #[arg(long)]
    header: Vec<String>,
    /// Pause between calls, in milliseconds.
    #[arg(long, default_value_t = 2)]
    pause: u64,
    /// Where the client status discovery service listens; nowhere by default.
    #[arg(long)]
    status: Option<std::net::SocketAddr>,
}

type Connected = (tonic::transport::Channel, MetadataMap);

/// What connects to a discovery server.
type Connect = Box<dyn FnMut() -> Result<Connected, Box<dyn Error + Send + Sync>> + Send>;

fn connect(server: &Server) -> Result<Connect, Box<dyn Error>> {
    if server.credentials != Credentials::Insecure {
        return Err(format!("{}: this program speaks with discovery servers in plaintext", server.uri).into());
    }
    let endpoint = Endpoint::from_shared(format!("http://{}", server.uri))?.connect_timeout(Duration::from_secs(20));
    Ok(Box::new(move || Ok((endpoint.connect_lazy(), MetadataMap::new()))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let mut bootstrap = Bootstrap::find(|name| std::env::var(name).ok())?;
    if arguments.delta {
        let servers = bootstrap.groups.iter_mut().flat_map(|list| &mut list.servers);
        servers.for_each(|server| server.variant = Variant::Delta);
    }
    let connects = bootstrap.groups.iter().map(|list| list.servers.iter().map(connect).collect());
    let connects = connects.collect::<Result<Vec<Vec<_>>, _>>()?;

    // The client follows what it is asked to; the channel asks for a listener and what follows from it.
    let (client, driver) = bootstrap.client(SystemTime::now);
    let (listener, authority) = bootstrap.listener(&arguments.target)?;
    let (channel, keeper) = Channel::by_xds(&client, &listener, &authority, Plaintext, SystemTime::now);
    let stop = CancellationToken::new();
    tokio::spawn(driver.run(connects, stop.clone()));
    tokio::spawn(keeper.run(stop.clone()));
    if let Some(at) = arguments.status {
        let status = StatusService::new(client.clone(), bootstrap.node.clone()).server();
        tokio::spawn(tonic::transport::Server::builder().add_service(status).serve(at));
    }

    let headers = arguments.header.iter().map(|header| {
        let (name, value) = header.split_once(':').ok_or_else(|| format!("`{header}` is not `name: value`"))?;
        Ok((name.trim().parse::<AsciiMetadataKey>()?, value.trim().parse::<AsciiMetadataValue>()?))
    });
    let headers = headers.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let mut health = HealthClient::new(channel);
    let mut out = std::fs::File::create(&arguments.answers)?;
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    while Instant::now() < end {
        let mut request = tonic::Request::new(HealthCheckRequest::default());
        request.set_timeout(Duration::from_secs(10));
        for (name, value) in &headers {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        match health.check(request).await {
            Ok(answer) => {
                let by = answer.metadata().get("served-by").and_then(|by| by.to_str().ok()).unwrap_or("nobody");
                writeln!(out, "{by}")?;
            }
            Err(status) => writeln!(out, "failed: {}: {}", status.code(), status.message())?,
        }
        tokio::time::sleep(Duration::from_millis(arguments.pause)).await;
    }
    stop.cancel();
    Ok(())
}
