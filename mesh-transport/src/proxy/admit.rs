use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use mesh_core::authz::{Connection, Permit, Verdict, evaluate, evaluate_dry_run};
use mesh_core::resolve::Destination;
use mesh_core::service::Service;
use mesh_core::workload::{ApplicationProtocol, Workload};
use mesh_identity::verify;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Inputs;
use super::flow::{Facts, Failure, Outcome};
use crate::socket::proxy_protocol::Header;

/// A connection that may be made. Holds the permit: without one there is nothing to connect with.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Where it leads: the application, or the next end of a tunnel within the tunnel.
    pub(super) to: SocketAddr,
    pub(super) local: Arc<Workload>,
    /// Whether bytes are for the workload itself, and so come from its client's address.
    for_application: bool,
    header: Option<Header>,
    permit: Permit,
}

/// Why a connection is refused, and with which status.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) reason: &'static str,
    pub(super) outcome: Outcome,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: &'static str, error: String) -> Self {
        Self { status, reason, outcome: Outcome::Failed(Failure::Connect, error) }
    }

    pub(super) fn no_local_workload() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_local_workload", "no record of the local workload".to_owned())
    }

    /// The peer was trusted when it connected, and is not any more.
    pub(super) fn distrusted(error: &verify::Error) -> Self {
        let failure = if matches!(error, verify::Error::Revoked(_)) { Failure::Revoked } else { Failure::Tls };
        let outcome = Outcome::Failed(failure, error.to_string());
        Self { status: StatusCode::UNAUTHORIZED, reason: "peer_not_trusted", outcome }
    }

    pub(super) fn own_port(port: u16) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "own_port", format!("port {port} is the proxy's own"))
    }
}

/// Asks the policies of a local workload for a connection to it; `facts` says who connects and where to.
pub(super) fn authorize(
    inputs: &Inputs,
    local: &Arc<Workload>,
    to: SocketAddr,
    facts: &mut Facts,
) -> Result<Admitted, Refusal> {
    facts.destination = Some(to);
    let connection = Connection { peer: facts.source_identity.as_ref(), source: facts.source.ip(), destination: to };
    let policies = inputs.policies.snapshot();
    if let Some(denial) = evaluate_dry_run(&policies, local, &connection) {
        tracing::info!(source = %facts.source, destination = %to, %denial, "dry run: would be refused");
    }
    match evaluate(&policies, local, &connection) {
        Verdict::Allowed(permit) => {
            facts.reason = permit.reason().as_str();
            facts.policy = permit.policy().cloned();
            Ok(Admitted { to, local: Arc::clone(local), for_application: true, header: None, permit })
        }
        Verdict::Denied(denial) => {
            facts.policy.clone_from(&denial.policy);
            let outcome = Outcome::Denied(denial.to_string());
            Err(Refusal { status: StatusCode::UNAUTHORIZED, reason: denial.reason.as_str(), outcome })
        }
    }
}

impl Admitted {
    /// For another end than the workload itself.
    pub(super) fn passed_on(self) -> Self {
        Self { for_application: false, ..self }
    }

    /// Hands the stream over as the workload asked for it: after a PROXY protocol header, over loopback.
    pub(super) fn through_application_tunnel(
        mut self,
        inputs: &Inputs,
        authority: &Destination,
        service: Option<&Service>,
        facts: &Facts,
    ) -> Self {
        let wants_header =
            self.local.application_tunnel.is_some_and(|tunnel| tunnel.protocol == ApplicationProtocol::Proxy);
        if !wants_header {
            return self;
        }
        let destination = match authority {
            Destination::Address(address) => *address,
            // The header carries addresses: a VIP of the service in our own network, IPv4 first.
            Destination::Hostname(_, port) => {
                let vips = || service.into_iter().flat_map(|service| &service.vips);
                let vip = vips().min_by_key(|(network, vip)| (*network != inputs.network, vip.addr().is_ipv6()));
                SocketAddr::new(vip.map_or_else(|| self.to.ip(), |(_, vip)| vip.addr()), *port)
            }
        };
        let identity = facts.source_identity.as_ref().map(ToString::to_string);
        self.header = Some(Header { source: facts.source, destination, identity });
        if inputs.options.localhost_application_tunnel {
            let loopback: std::net::IpAddr = match self.to {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            self.to = SocketAddr::new(loopback, self.to.port());
        }
        self
    }

    /// Connects to the application.
    pub(super) async fn connect(&self, inputs: &Inputs, facts: &Facts) -> std::io::Result<TcpStream> {
        tracing::trace!(source = %facts.source, permit = %self.permit, to = %self.to, "connecting to the application");
        let mut stream = if self.for_application {
            inputs.sockets.connect_for(facts.source.ip(), self.to).await?
        } else {
            inputs.sockets.connect(self.to).await?
        };
        if let Some(header) = &self.header {
            stream.write_all(&header.encode()).await?;
        }
        Ok(stream)
    }
}
