use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::admit::{Refusal, authorize};
use super::flow::{Direction, Facts, Failure, Outcome};
use super::reevaluate::forbidden;
use super::track::Watched;
use super::{Drain, Inputs, LocalWorkload};
use crate::relay::relay;
use crate::socket::{Listener, original_destination};

/// The way into one local workload for plaintext that the kernel redirected here: judged by the same policies as tunnels,
/// without an identity.
#[derive(Debug, Clone)]
pub struct Passthrough {
    inputs: Inputs,
    local: LocalWorkload,
}

impl Passthrough {
    /// The plaintext way into a workload.
    #[must_use]
    pub fn new(inputs: Inputs, local: impl Into<LocalWorkload>) -> Self {
        Self { inputs, local: local.into() }
    }

    /// Serves a listener until the drain begins; connections go on in tasks of their own.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting.
    pub async fn serve(self, listener: Listener, drain: Drain) {
        loop {
            let (client, address) = tokio::select! {
                biased;
                () = drain.begun() => return,
                accepted = listener.accept() => accepted,
            };
            let passthrough = self.clone();
            self.inputs.tasks.spawn(async move { passthrough.connection(client, address).await });
        }
    }

    async fn connection(&self, client: TcpStream, address: SocketAddr) {
        let mut facts = Facts::new(Direction::Inbound, address, String::new());
        match Box::pin(self.admit(&client, &mut facts)).await {
            Ok((upstream, uid)) => {
                let registration =
                    self.inputs.tracker.register(facts, Watched::Inbound { local: uid.clone(), chain: None });
                let flow = Arc::clone(registration.flow());
                // Policy or record may have changed since the question; nothing would judge this connection again.
                let (catalog, policies) = (self.inputs.catalog.snapshot(), self.inputs.policies.snapshot());
                if let Some(cause) = forbidden(&catalog, &policies, uid.as_str(), &flow.facts) {
                    registration.close(cause);
                }
                registration.run(relay(client, upstream, &flow.counts)).await;
            }
            Err(refusal) => {
                facts.reason = refusal.reason;
                self.inputs.tracker.refused(&facts, &refusal.outcome);
            }
        }
    }

    async fn admit(&self, client: &TcpStream, facts: &mut Facts) -> Result<(TcpStream, mesh_core::name::Uid), Refusal> {
        let unavailable = |reason, error: String| Refusal::new(http::StatusCode::SERVICE_UNAVAILABLE, reason, error);
        let to = original_destination(client).map_err(|error| unavailable("no_destination", error.to_string()))?;
        facts.requested = to.to_string();
        facts.destination = Some(to);
        if self.inputs.own_ports.contains(&to.port()) {
            return Err(Refusal::own_port(to.port()));
        }
        let local = self.local.wait(&self.inputs.catalog, self.inputs.options.record_wait).await;
        let local = local.ok_or_else(Refusal::no_local_workload)?;
        facts.destination_workload = Some(Arc::clone(&local));
        let catalog = self.inputs.catalog.snapshot();
        facts.source_workload = catalog.workload_at(&self.inputs.network, facts.source.ip()).map(Arc::clone);
        let mut of_local = local.services.keys().filter_map(|key| catalog.service(key));
        facts.service = of_local
            .find(|service| {
                let own = local.services.get(&service.key);
                let mut ports = service.ports.iter();
                ports.any(|port| {
                    let own = own.and_then(|own| own.target(port.service_port));
                    own.or(port.target_port) == Some(to.port())
                })
            })
            .map(Arc::clone);
        let admitted = authorize(&self.inputs, &local, to, facts)?;
        let upstream = admitted.connect(&self.inputs, facts).await.map_err(|error| Refusal {
            status: http::StatusCode::SERVICE_UNAVAILABLE,
            reason: "upstream_failure",
            outcome: Outcome::Failed(Failure::Connect, format!("cannot connect to {to}: {error}")),
        })?;
        Ok((upstream, local.uid.clone()))
    }
}
