//! The way of a connection, asked of those who decide about it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mesh_core::authz::{self, Action, Connection, Verdict};
use mesh_core::name::{NamespacedHostname, NamespacedName, SpiffeId, Text, Uid};
use mesh_core::resolve::{Destination, Hop, Outbound, Reason, Refusal, Resolution, ways};
use mesh_core::service::{HealthPolicy, Mode};
use mesh_core::workload::{Health, TunnelProtocol, Workload};

use super::mesh::Mesh;
use super::outcome::{Access, Cause, Outcome, Point, PolicyRef, Via, Why};
use super::probe::Probe;
use super::program::Program;
use super::trail::Trail;
use super::waypoint;

/// Somebody who connects.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its record, by which its node proxy looks for a way. Of somebody who is no workload, one that is made for the
    /// purpose.
    pub workload: Arc<Workload>,
    /// Who it is to others; `None` for who is not in the mesh, and connects in plaintext.
    pub identity: Option<SpiffeId>,
    /// Its identity as texts, as certificates have it.
    uris: Vec<Text>,
}

/// What a client addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Addressee {
    /// A port of a service.
    Service(NamespacedHostname, u16),
    /// A port of a workload, by its address.
    Workload(Uid, u16),
    /// An address that may be anybody's.
    Address(SocketAddr),
}

/// The ways that connections of some clients to one addressee may take.
#[derive(Debug)]
pub(super) struct Plan<'m> {
    pub(super) steps: Vec<Step<'m>>,
    /// Why each of the steps is taken, where a node proxy chose it.
    pub(super) reasons: Vec<Reason>,
}

/// The first who decides about a connection.
#[derive(Debug, Clone)]
pub(super) enum Step<'m> {
    /// There is no way.
    Refused { word: &'static str, text: String },
    /// Nobody decides; the workload that is addressed, where it is known, and its address.
    Outside(Option<(Uid, SocketAddr)>),
    /// Those of another network decide.
    Remote,
    /// The node proxy of a workload decides.
    Node(Node),
    /// A waypoint decides.
    Waypoint { program: &'m Program, to: Option<SocketAddr> },
    /// A waypoint that is programmed by somebody else.
    Foreign,
}

/// The node proxy of a workload, and what connections to an address of it are judged by.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) workload: Arc<Workload>,
    pub(super) to: SocketAddr,
    /// Whether the client comes by a tunnel.
    pub(super) tunnelled: bool,
    /// The ALLOW policies that apply.
    allow: Arc<[NamespacedName]>,
}

impl Step<'_> {
    /// Where it leads, if nobody stands between but the node proxy of the destination.
    pub(super) fn endpoint(&self) -> Option<(&Uid, SocketAddr)> {
        match self {
            Self::Node(node) => Some((&node.workload.uid, node.to)),
            Self::Outside(Some((uid, to))) => Some((uid, *to)),
            _ => None,
        }
    }
}

impl Client {
    /// A workload that is what its record says: in the mesh, or outside.
    #[must_use]
    pub fn of(workload: &Arc<Workload>) -> Self {
        let captured = workload.tunnel == TunnelProtocol::Hbone;
        Self::new(Arc::clone(workload), captured.then(|| workload.spiffe_id()))
    }

    pub(super) fn new(workload: Arc<Workload>, identity: Option<SpiffeId>) -> Self {
        let uris = identity.iter().map(|id| Text::from(id.to_string())).collect();
        Self { workload, identity, uris }
    }

    /// The address that it comes from.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.workload.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    pub(super) fn uris(&self) -> &[Text] {
        &self.uris
    }
}

impl Addressee {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Service(_, port) | Self::Workload(_, port) => *port,
            Self::Address(address) => address.port(),
        }
    }

    /// What a client writes down to reach it.
    pub(super) fn destination(&self, mesh: &Mesh) -> Option<Destination> {
        match self {
            Self::Service(key, port) => {
                let service = mesh.catalog.service(key)?;
                let here = service.vips.iter().find(|(network, _)| *network == mesh.network);
                Some(match here {
                    Some((_, range)) => Destination::from(SocketAddr::new(range.addr(), *port)),
                    None => Destination::Hostname(key.hostname.clone(), *port),
                })
            }
            Self::Workload(uid, port) => {
                let ip = mesh.catalog.workload(uid.as_str())?.addresses.first()?;
                Some(Destination::from(SocketAddr::new(*ip, *port)))
            }
            Self::Address(address) => Some(Destination::from(*address)),
        }
    }
}

impl Mesh {
    /// What becomes of a connection, or of a request on it; a connection without a request does not begin like HTTP.
    #[must_use]
    pub fn judge(&self, client: &Client, to: &Addressee, probe: Option<&Probe>) -> Outcome {
        self.judge_by(&self.plan(client, to), client, probe)
    }

    pub(super) fn judge_by(&self, plan: &Plan<'_>, client: &Client, probe: Option<&Probe>) -> Outcome {
        Outcome::of(plan.steps.iter().map(|step| self.step(step, client, probe, None)).collect())
    }

    /// The ways to an addressee.
    pub(super) fn plan(&self, client: &Client, to: &Addressee) -> Plan<'_> {
        let Some(destination) = to.destination(self) else {
            return Plan { steps: vec![unknown()], reasons: Vec::new() };
        };
        let (mut steps, reasons): (Vec<_>, Vec<_>) = match client.identity {
            Some(_) => {
                let request = Outbound::new(&client.workload, &self.network, &destination);
                let reason = |way: &Result<Resolution, Refusal>| match way {
                    Ok(way) => way.reason,
                    Err(refusal) => refusal.reason,
                };
                let ways = ways(&self.catalog, &request).into_iter();
                ways.map(|way| (reason(&way), way)).map(|(reason, way)| (self.by_way(way), reason)).unzip()
            }
            None => (self.in_plaintext(to, &destination), Vec::new()),
        };
        if steps.is_empty() {
            steps.push(unknown());
        }
        Plan { steps, reasons }
    }

    fn by_way(&self, way: Result<Resolution, Refusal>) -> Step<'_> {
        let way = match way {
            Ok(way) => way,
            Err(refusal) => {
                return Step::Refused { word: refusal.reason.as_str(), text: refusal.reason.to_string() };
            }
        };
        match (way.hop, way.workload) {
            (Hop::Plain { to: Destination::Address(to) }, Some(workload)) => self.node(workload, to, false),
            (Hop::Plain { to: Destination::Address(to) }, None) => {
                match self.catalog.workload_at(&self.network, to.ip()) {
                    Some(workload) => self.node(Arc::clone(workload), to, false),
                    None => Step::Outside(None),
                }
            }
            (Hop::Plain { .. }, _) => Step::Outside(None),
            (Hop::Hbone(tunnel), Some(workload)) => {
                if let Some(program) = self.program(&workload) {
                    return Step::Waypoint { program, to: program.entry(&tunnel.authority) };
                }
                match tunnel.authority {
                    Destination::Address(to) if workload.addresses.contains(&to.ip()) => self.node(workload, to, true),
                    _ => Step::Foreign,
                }
            }
            _ => Step::Remote,
        }
    }

    /// Who is not in the mesh goes where addresses lead, past waypoints.
    fn in_plaintext(&self, to: &Addressee, destination: &Destination) -> Vec<Step<'_>> {
        let at = |ip: IpAddr, port: u16| match self.catalog.workload_at(&self.network, ip) {
            Some(workload) => self.node(Arc::clone(workload), SocketAddr::new(ip, port), false),
            None => Step::Outside(None),
        };
        match (to, destination) {
            (Addressee::Service(key, port), _) => {
                let Some(service) = self.catalog.service(key) else { return Vec::new() };
                if service.load_balancing.mode == Mode::Passthrough {
                    return vec![Step::Outside(None)];
                }
                let all = service.load_balancing.health_policy == HealthPolicy::AllowAll;
                let usable = self.catalog.endpoints(key).filter(|workload| all || workload.health == Health::Healthy);
                let steps = usable.filter_map(|workload| {
                    let own = workload.services.get(key).and_then(|ports| ports.target(*port));
                    let target = own.or_else(|| service.ports.target(*port))?;
                    Some(match workload.addresses.first() {
                        Some(ip) => self.node(Arc::clone(workload), SocketAddr::new(*ip, target), false),
                        None => Step::Outside(None),
                    })
                });
                steps.collect()
            }
            (_, Destination::Address(address)) => vec![at(address.ip(), address.port())],
            (_, Destination::Hostname(..)) => vec![Step::Outside(None)],
        }
    }

    fn node(&self, workload: Arc<Workload>, to: SocketAddr, tunnelled: bool) -> Step<'static> {
        if workload.tunnel != TunnelProtocol::Hbone || self.is_waypoint(&workload) {
            return Step::Outside(Some((workload.uid.clone(), to)));
        }
        let applicable = self.applicable(&workload);
        let allow = applicable.iter().filter(|policy| policy.action == Action::Allow && !policy.dry_run);
        let allow = allow.map(|policy| policy.name.clone()).collect();
        Step::Node(Node { workload, to, tunnelled, allow })
    }

    /// What becomes of it on one way. What was considered is noted for whom it matters.
    pub(super) fn step(
        &self,
        step: &Step<'_>,
        client: &Client,
        probe: Option<&Probe>,
        trail: Option<&Trail>,
    ) -> Outcome {
        let one = |access, via, point, why| one(access, via, Cause::new(point, why, Vec::new()));
        let own = if client.identity.is_some() { Via::Tunnel } else { Via::Plaintext };
        match step {
            Step::Refused { word, text } => {
                one(Access::Refused, Vec::new(), Point::Client, Why::NoWay(word, text.clone()))
            }
            Step::Outside(_) => one(Access::Open, vec![Via::Plaintext], Point::Client, Why::NotInMesh),
            Step::Remote => one(Access::Asked, vec![Via::Gateway], Point::Client, Why::Elsewhere),
            Step::Foreign => one(Access::Asked, vec![own], Point::Client, Why::ProgrammedElsewhere),
            Step::Node(node) => {
                let peer = client.identity.as_ref().filter(|_| node.tunnelled);
                let via = if node.tunnelled { Via::Tunnel } else { Via::Plaintext };
                self.at_node(node, (peer, client.address()), (Point::Destination, via), trail)
            }
            Step::Waypoint { program, to: None } => {
                let via = vec![Via::Waypoint(program.key.clone())];
                one(Access::Refused, via, Point::Waypoint(program.key.clone()), Why::NotServed)
            }
            Step::Waypoint { program, to: Some(to) } => waypoint::judge(self, program, *to, (client, probe), trail),
        }
    }

    /// What the node proxy of a workload says.
    fn at_node(
        &self,
        node: &Node,
        (peer, source): (Option<&SpiffeId>, IpAddr),
        (point, via): (Point, Via),
        trail: Option<&Trail>,
    ) -> Outcome {
        let connection = Connection { peer, source, destination: node.to };
        if let Some(trail) = trail {
            trail.node(self, node, &connection, &point);
        }
        let verdict = authz::evaluate(&self.policies, &node.workload, &connection);
        let named = |name: &NamespacedName| PolicyRef { name: name.clone(), rule: None };
        let (access, why, policies) = match verdict {
            Verdict::Allowed(permit) => match permit.policy() {
                Some(policy) => (Access::Open, Why::Allowed, vec![named(policy)]),
                None => (Access::Open, Why::Unrestricted, Vec::new()),
            },
            Verdict::Denied(denial) => {
                let why = match denial.reason {
                    authz::Reason::DenyPolicy => Why::Denied,
                    authz::Reason::PolicyMissing => Why::PolicyMissing,
                    _ => Why::NoneAllows,
                };
                let policies = match &denial.policy {
                    Some(policy) => vec![named(policy)],
                    None => node.allow.iter().map(named).collect(),
                };
                (Access::Refused, why, policies)
            }
        };
        one(access, vec![via], Cause::new(point, why, policies))
    }

    /// What the node proxy of an endpoint says of a waypoint that connects to it.
    pub(super) fn behind(
        &self,
        program: &Program,
        workload: Arc<Workload>,
        (to, tunnelled): (SocketAddr, bool),
        trail: Option<&Trail>,
    ) -> Outcome {
        let via = Via::Waypoint(program.key.clone());
        let point = Point::Behind(program.key.clone());
        match self.node(workload, to, tunnelled) {
            Step::Node(node) => {
                let judge = |peer| self.at_node(&node, (peer, program.address()), (point.clone(), via.clone()), trail);
                match tunnelled && !program.identities.is_empty() {
                    true => Outcome::of(program.identities.iter().map(|id| judge(Some(id))).collect()),
                    false => judge(None),
                }
            }
            _ => one(Access::Open, vec![via], Cause::new(point, Why::NotInMesh, Vec::new())),
        }
    }
}

fn unknown() -> Step<'static> {
    let reason = Reason::NoHealthyUpstream;
    Step::Refused { word: reason.as_str(), text: reason.to_string() }
}

/// What becomes of something that has one way.
pub(super) fn one(access: Access, via: Vec<Via>, cause: Cause) -> Outcome {
    Outcome { access, causes: vec![cause], via, routes: Vec::new() }
}
