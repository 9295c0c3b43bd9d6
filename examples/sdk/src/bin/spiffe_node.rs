//! A node of a SPIFFE identity server, SPIRE's or ours: it joins, and serves the Workload API to the processes on this machine.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for a terminal")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use mesh_core::name::parse_trust_domain;
use mesh_identity::attest::{AwsEvidence, Evidence, JoinTokenEvidence, K8sPsatEvidence, X509PopEvidence};
use mesh_identity::bundle::Bundle;
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::source::{Identities, JwtCache};
use mesh_identity::spire::Joining;
use mesh_identity::task::Tasks;
use mesh_identity::trust::{TrustCache, TrustStore};
use mesh_identity::workload_api::{Listener, Parts, UnixAttestor, WorkloadApi};

/// A node of a SPIFFE identity server.
#[derive(Debug, Parser)]
struct Arguments {
    /// The trust domain.
    #[arg(long)]
    trust_domain: String,
    /// Host and port of the server.
    #[arg(long)]
    server: String,
    /// The server's trust bundle to begin with, PEM.
    #[arg(long)]
    trust_bundle: PathBuf,
    /// Directory of the node's own SVID and of bundles.
    #[arg(long)]
    dir: PathBuf,
    /// Socket of the Workload API.
    #[arg(long)]
    socket: PathBuf,
    #[command(flatten)]
    evidence: EvidenceArguments,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct EvidenceArguments {
    /// A join token.
    #[arg(long)]
    join_token: Option<String>,
    /// Certificate and key of this machine, in one PEM file (`x509pop`).
    #[arg(long)]
    machine: Option<PathBuf>,
    /// The name of the cluster and the file of this pod's token (`k8s_psat`).
    #[arg(long, num_args = 2, value_names = ["CLUSTER", "FILE"])]
    kubernetes: Vec<String>,
    /// This is an EC2 instance (`aws_iid`).
    #[arg(long)]
    aws: bool,
}

impl EvidenceArguments {
    fn gather(&self) -> Result<Arc<dyn Evidence>, Box<dyn Error>> {
        if let Some(token) = &self.join_token {
            return Ok(Arc::new(JoinTokenEvidence::new(token)));
        }
        if let Some(path) = &self.machine {
            let text = std::fs::read(path)?;
            return Ok(Arc::new(X509PopEvidence::from_pem(&text, &text)?));
        }
        if let [cluster, file] = self.kubernetes.as_slice() {
            return Ok(Arc::new(K8sPsatEvidence::new(cluster, file)));
        }
        Ok(Arc::new(AwsEvidence::new()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let trust_domain = parse_trust_domain(&arguments.trust_domain)?;
    let cache = TrustCache::open(&arguments.dir.join("trust"))?;
    let trust = TrustStore::builder(Arc::clone(&clock)).cache(cache).build();
    if trust.bundles().load().get(&trust_domain).is_none() {
        trust.own(Bundle::from_pem(trust_domain.clone(), &std::fs::read(&arguments.trust_bundle)?)?);
    }
    let joining = Joining {
        server: arguments.server,
        trust: trust.clone(),
        evidence: arguments.evidence.gather()?,
        trust_domain,
        directory: Some(arguments.dir),
        clock: Arc::clone(&clock),
    };
    let node = joining.join().await?;
    // Without an answer the Workload API tells its callers to try again.
    if let Err(error) = node.sync().await {
        tracing::warn!(error = mesh_core::report::chain(&error), "no entries yet");
    }
    let tasks = Tasks::default();
    tasks.spawn(node.clone().keep());
    tasks.spawn(trust.clone().keep());

    let source = Arc::new(node.source());
    let identities = Identities::builder(Arc::clone(&source) as _, trust.bundles().load().clone()).build();
    let api = WorkloadApi::new(Parts {
        entries: node.entries(),
        identities,
        bundles: trust.bundles(),
        tokens: Arc::new(JwtCache::new(source, Arc::clone(&clock))),
        attestor: Arc::new(UnixAttestor { program: true }),
        clock,
    });
    let listener = Listener::bind(&arguments.socket)?;
    println!("joined as {}", node.identity().id());
    tokio::select! {
        served = api.serve(listener) => served?,
        _ = tokio::signal::ctrl_c() => {}
    }
    tasks.stop().await;
    Ok(())
}
