//! A gateway into a network: it takes tunnels for services of its network and passes the tunnels in them on, unread, to an
//! endpoint of the service. The whole program is the joining of a workload file, an authority and one listener.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use mesh_core::authz::{PolicyDelta, PolicySet};
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::live::Live;
use mesh_core::name::{Network, parse_trust_domain};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{Identities, LocalSource};
use mesh_transport::proxy::{Drain, Inbound, Inputs, LocalWorkload};
use mesh_transport::socket::Listener;
use mesh_xds::workload::parse_local_file;

/// A gateway into a network.
#[derive(Debug, Parser)]
struct Arguments {
    /// Workloads, services and policies, in the form of ztunnel's local configuration.
    #[arg(long)]
    file: PathBuf,
    /// The network that it leads into.
    #[arg(long, default_value = "")]
    network: String,
    /// Which of the workloads it is: namespace, name and service account.
    #[arg(long, num_args = 3, value_names = ["NAMESPACE", "NAME", "ACCOUNT"])]
    workload: Vec<String>,
    /// Directory of the authority that signs its certificate.
    #[arg(long)]
    authority: PathBuf,
    /// Where tunnels arrive.
    #[arg(long, default_value = "[::]:15008")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let file = parse_local_file(&std::fs::read_to_string(&arguments.file)?)?;
    let (mut delta, mut policies) = (Delta::new(), PolicyDelta::new());
    file.workloads.into_iter().for_each(|workload| delta.upsert_workload(workload));
    file.services.into_iter().for_each(|service| delta.upsert_service(service));
    file.policies.into_iter().for_each(|policy| policies.upsert(policy));
    let catalog = Catalog::default().apply(delta);

    let [namespace, name, account] = arguments.workload.as_slice() else { return Err("--workload is missing".into()) };
    let local = LocalWorkload::pod(namespace, name, account);
    let id = local.find(&catalog).ok_or("the file holds no such workload")?.spiffe_id();
    let domain = parse_trust_domain(id.trust_domain_name())?;
    let authority = Arc::new(Authority::open(&arguments.authority, domain, Rules::default(), Arc::new(SystemClock))?);
    let bundles = BundleSet::default().with(authority.bundle());
    let source = LocalSource::new(authority, Duration::from_secs(24 * 60 * 60), Names::default());
    let identities = Identities::builder(Arc::new(source), bundles).build();

    let policies = Live::constant(PolicySet::default().apply(policies));
    let mut inputs = Inputs::new(Live::constant(catalog), policies, identities.clone());
    inputs.network = Network::from(arguments.network);
    let gateway = Inbound::gateway(inputs, local, identities.identity(&id).await?)?;
    gateway.serve(Listener::bind(arguments.listen)?, Drain::new()).await;
    Ok(())
}
