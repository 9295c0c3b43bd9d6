use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, print};
use crate::webhook::{Place, configuration};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Roots (PEM) of the webhook's certificate: `root-cert.pem` of the authority's directory, where the region's authority
    /// issues it.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// Namespace of the Service that leads to the webhook.
    #[arg(long, default_value = "istio-system")]
    namespace: String,
    /// Name of that Service.
    #[arg(long, default_value = "control-plane")]
    service: String,
    /// Port of that Service.
    #[arg(long, default_value_t = 443)]
    port: u16,
    /// Where the webhook is, without a path, if it is outside of the cluster: https://control-plane.example:15017
    #[arg(long, conflicts_with_all = ["namespace", "service", "port"])]
    url: Option<String>,
    /// Name of the configuration.
    #[arg(long, default_value = "mesh")]
    name: String,
    /// Ask about objects that go, too: for admission policies that keep some. While the webhook is away, nothing can be deleted
    /// then.
    #[arg(long)]
    deletions: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { ca, namespace, service, port, url, name, deletions } = arguments;
    let roots = mesh_identity::file::read(ca)?;
    // Without a certificate in it, API servers would take those of the Web, and find none of ours.
    mesh_identity::tls::server_named_client(&roots, &[])
        .map_err(|error| format!("{}: {}", ca.display(), mesh_core::report::chain(&error)))?;
    let place = match url {
        Some(url) if url.starts_with("https://") => Place::Url(url.clone()),
        Some(url) => return Err(format!("`{url}`: API servers call webhooks by https only").into()),
        None => Place::Service { namespace: namespace.clone(), name: service.clone(), port: *port },
    };
    print(&configuration(name, &place, &roots, *deletions));
    Ok(ExitCode::SUCCESS)
}
