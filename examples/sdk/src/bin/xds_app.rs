//! A tonic program that finds its servers by xDS, without any proxy: it asks the health service of `xds:///name` for a while
//! and writes down who answered each time. Its servers are named by gRPC's own bootstrap file.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for a terminal")]

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Send a header `user` with each call, 0 to this less one in turn.
    #[arg(long)]
    users: Option<u64>,
    /// As many calls at most.
    #[arg(long)]
    calls: Option<u64>,
    /// As many calls at once.
    #[arg(long, default_value_t = 1)]
    parallel: u32,
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
    let caller = Arc::new(Caller {
        health: HealthClient::new(channel),
        headers: headers.collect::<Result<Vec<_>, Box<dyn Error>>>()?,
        users: arguments.users,
        most: arguments.calls.unwrap_or(u64::MAX),
        made: AtomicU64::new(0),
        end: Instant::now() + Duration::from_secs(arguments.seconds),
        pause: Duration::from_millis(arguments.pause),
        out: std::fs::File::create(&arguments.answers)?,
    });
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..arguments.parallel {
        workers.spawn(Arc::clone(&caller).work());
    }
    while let Some(worked) = workers.join_next().await {
        worked??;
    }
    stop.cancel();
    Ok(())
}

/// What the workers share.
struct Caller {
    health: HealthClient<Channel>,
    headers: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    users: Option<u64>,
    most: u64,
    made: AtomicU64,
    end: Instant,
    pause: Duration,
    out: std::fs::File,
}

impl Caller {
    /// Calls, one after another, until it is enough.
    async fn work(self: Arc<Self>) -> std::io::Result<()> {
        let mut health = self.health.clone();
        while Instant::now() < self.end {
            let call = self.made.fetch_add(1, Ordering::Relaxed);
            if call >= self.most {
                break;
            }
            let mut request = tonic::Request::new(HealthCheckRequest::default());
            request.set_timeout(Duration::from_secs(10));
            for (name, value) in &self.headers {
                request.metadata_mut().insert(name.clone(), value.clone());
            }
            if let Some(user) = self.users.and_then(|users| call.checked_rem(users)) {
                request.metadata_mut().insert("user", user.into());
            }
            let line = match health.check(request).await {
                Ok(answer) => {
                    let by = answer.metadata().get("served-by").and_then(|by| by.to_str().ok());
                    format!("{}\n", by.unwrap_or("nobody"))
                }
                Err(status) => format!("failed: {:?}: {}\n", status.code(), status.message()),
            };
            // One write, so that the lines of several workers are whole.
            (&self.out).write_all(line.as_bytes())?;
            tokio::time::sleep(self.pause).await;
        }
        Ok(())
    }
}
