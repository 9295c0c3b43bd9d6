use std::sync::Arc;

use http::StatusCode;
use mesh_core::resolve::{self, Destination, Hop, Reason, inbound};
use mesh_core::service::Service;
use mesh_core::workload::Workload;
use mesh_identity::tls::Identity;

use super::admit::{Admitted, Refusal, authorize};
use super::flow::Facts;
use super::outbound::discover;
use super::reevaluate::forbidden;
use super::track::{Cause, Watched};
use super::{Drain, Inputs, LocalWorkload, Terminator, TunnelPeer};
use crate::hbone::{Connect, Forwarded, NETWORK_HEADER, baggage, destination};
use crate::relay::relay;
use crate::socket::Listener;

/// The way into one local workload: HBONE at its own address.
///
/// Who the destination is follows from the listener, never from what the peer sends.
#[derive(Debug, Clone)]
pub struct Inbound {
    inputs: Inputs,
    local: LocalWorkload,
    terminator: Terminator,
    role: Role,
}

/// What a tunnel that ends here is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// For the local workload.
    Workload,
    /// For another workload of this network: the bytes are a tunnel of their own, which ends there.
    Gateway,
}

impl Inbound {
    /// The way into the workload `local`, which is `identity`.
    ///
    /// # Errors
    /// No TLS configuration can be made.
    pub fn new(
        inputs: Inputs,
        local: impl Into<LocalWorkload>,
        identity: Identity,
    ) -> Result<Self, mesh_identity::tls::Error> {
        let terminator = Terminator::new(identity, inputs.tracker.clone(), inputs.tasks.clone())?;
        Ok(Self { inputs, local: local.into(), terminator, role: Role::Workload })
    }

    /// The way into a network, at its gateway `local`: a tunnel for a service of the network carries another tunnel, which
    /// is passed on unread to an endpoint of the service, or to its waypoint. The identity of the far end is proven inside
    /// it, end to end.
    ///
    /// # Errors
    /// No TLS configuration can be made.
    pub fn gateway(
        inputs: Inputs,
        local: impl Into<LocalWorkload>,
        identity: Identity,
    ) -> Result<Self, mesh_identity::tls::Error> {
        Ok(Self { role: Role::Gateway, ..Self::new(inputs, local, identity)? })
    }

    /// Serves a listener until the drain begins; connections go on in tasks of their own.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting.
    pub async fn serve(self, listener: Listener, drain: Drain) {
        let terminator = self.terminator.clone();
        let inbound = Arc::new(self);
        let handle = move |connect: Connect, peer: Arc<TunnelPeer>| {
            let inbound = Arc::clone(&inbound);
            async move { inbound.stream(connect, &peer).await }
        };
        terminator.serve(listener, drain, handle).await;
    }

    async fn stream(&self, connect: Connect, peer: &TunnelPeer) {
        let mut facts = self.terminator.facts(&connect, peer);
        if let Err(error) = self.terminator.look(peer) {
            self.refuse(connect, &mut facts, Refusal::distrusted(&error));
            return self.terminator.give_up(peer, &error);
        }
        let admitted = match Box::pin(self.admit(&connect, peer, &mut facts)).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(connect, &mut facts, refusal),
        };
        let upstream = match admitted.connect(&self.inputs, &facts).await {
            Ok(upstream) => upstream,
            Err(error) => {
                let error = format!("cannot connect to {}: {error}", admitted.to);
                let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "upstream_failure", error);
                return self.refuse(connect, &mut facts, refusal);
            }
        };
        let description = self.inputs.options.response_baggage.then(|| baggage::of(&admitted.local));
        let watched = Watched::Inbound { local: admitted.local.uid.clone(), chain: Some(Arc::clone(peer.chain())) };
        let registration = self.inputs.tracker.register(facts, watched);
        let flow = Arc::clone(registration.flow());
        // Trust, policy or record may have changed between the question and the registration; nothing would judge this
        // connection again.
        let distrusted = self.terminator.look(peer).err();
        let (catalog, policies) = (self.inputs.catalog.snapshot(), self.inputs.policies.snapshot());
        let cause = distrusted.clone().map(Cause::Trust);
        if let Some(cause) = cause.or_else(|| forbidden(&catalog, &policies, admitted.local.uid.as_str(), &flow.facts))
        {
            connect.refuse(StatusCode::UNAUTHORIZED, "changed_meanwhile");
            registration.close(cause);
            registration.run(std::future::pending()).await;
            if let Some(error) = distrusted {
                self.terminator.give_up(peer, &error);
            }
            return;
        }
        match connect.accept(description.as_deref()) {
            Ok(stream) => registration.run(relay(stream, upstream, &flow.counts)).await,
            Err(error) => registration.run(std::future::ready(Err(std::io::Error::other(error)))).await,
        }
    }

    /// Everything that is asked before the application is connected to.
    async fn admit(&self, connect: &Connect, peer: &TunnelPeer, facts: &mut Facts) -> Result<Admitted, Refusal> {
        let head = http::Request::from_parts(connect.head.clone(), ());
        let authority = destination(&head)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "malformed_request", error.to_string()))?;
        facts.requested = authority.to_string();
        let local = self.local.wait(&self.inputs.catalog, self.inputs.options.record_wait).await;
        let local = local.ok_or_else(Refusal::no_local_workload)?;
        facts.destination_workload = Some(Arc::clone(&local));
        self.describe_source(connect, peer, facts);
        let own_ip = peer.local().ip().to_canonical();
        if !matches!(&authority, Destination::Address(address) if address.ip() == own_ip) {
            // A service or another workload, which may not have been heard of yet. Unanswered, it is refused below.
            let request = resolve::Outbound::new(&local, &self.inputs.network, &authority);
            let _ = discover(&self.inputs, &request).await;
        }
        match self.role {
            Role::Workload => self.to_workload(connect, &local, own_ip, &authority, facts),
            Role::Gateway => self.through_gateway(&local, &authority, facts),
        }
    }

    fn to_workload(
        &self,
        connect: &Connect,
        local: &Arc<Workload>,
        own_ip: std::net::IpAddr,
        authority: &Destination,
        facts: &mut Facts,
    ) -> Result<Admitted, Refusal> {
        let catalog = self.inputs.catalog.snapshot();
        let target = inbound(&catalog, local, own_ip, authority).map_err(refused)?;
        facts.destination = Some(target.to);
        facts.service = target.service.or_else(|| {
            // What the client says it addressed, if it is one of this workload's services: for telemetry only.
            let host = Forwarded::host(&connect.head.headers)?;
            let mut of_local = local.services.keys().filter_map(|key| catalog.service(key));
            of_local.find(|service| service.key.hostname.as_str() == host).map(Arc::clone)
        });
        if self.inputs.own_ports.contains(&target.to.port()) {
            return Err(Refusal::own_port(target.to.port()));
        }
        let admitted = authorize(&self.inputs, local, target.to, facts)?;
        let service: Option<&Service> = facts.service.as_deref();
        Ok(admitted.through_application_tunnel(&self.inputs, authority, service, facts))
    }

    /// The next end of the tunnel that comes in this one.
    fn through_gateway(
        &self,
        local: &Arc<Workload>,
        authority: &Destination,
        facts: &mut Facts,
    ) -> Result<Admitted, Refusal> {
        let bad = |error: String| Refusal::new(StatusCode::BAD_REQUEST, Reason::NotThisWorkload.as_str(), error);
        if matches!(authority, Destination::Address(_)) {
            return Err(bad(format!("{authority}: a gateway is asked for services by host name")));
        }
        let catalog = self.inputs.catalog.snapshot();
        let request = resolve::Outbound::new(local, &self.inputs.network, authority);
        let way = resolve::outbound(&catalog, &request, fastrand::u64(..)).map_err(refused)?;
        facts.service.clone_from(&way.service);
        let Hop::Hbone(tunnel) = way.hop else {
            return Err(bad(format!("{authority} is not reached by tunnel in this network")));
        };
        authorize(&self.inputs, local, tunnel.to, facts).map(Admitted::passed_on)
    }

    /// Who is behind the peer, for telemetry. A record is believed only where it agrees with the certificate: another
    /// workload may use the address by now, and a peer in another network may use one that is somebody else's here.
    fn describe_source(&self, connect: &Connect, peer: &TunnelPeer, facts: &mut Facts) {
        let headers = &connect.head.headers;
        let network = headers.get(NETWORK_HEADER).and_then(|value| value.to_str().ok());
        let same_network = network.is_none_or(|network| self.inputs.network == *network);
        let catalog = self.inputs.catalog.load();
        let recorded = catalog.workload_at(&self.inputs.network, peer.address().ip()).filter(|_| same_network);
        facts.source_workload = recorded.filter(|workload| workload.spiffe_id() == *peer.identity()).map(Arc::clone);
        facts.source_baggage = facts.source_workload.is_none().then(|| baggage::read(headers));
    }

    fn refuse(&self, connect: Connect, facts: &mut Facts, refusal: Refusal) {
        facts.reason = refusal.reason;
        connect.refuse(refusal.status, refusal.reason);
        self.inputs.tracker.refused(facts, &refusal.outcome);
    }
}

fn refused(refusal: resolve::Refusal) -> Refusal {
    let status = match refusal.reason {
        Reason::NotThisWorkload => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refusal::new(status, refusal.reason.as_str(), refusal.to_string())
}
