//! What a waypoint does with a connection, or with a request.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::authn::{Authentication, PAYLOAD};
use mesh_core::authz::rbac::{Facts, FilterRules, Rbac, RbacFilter, Verdict};
use mesh_core::filter::{Connection, Exchange, Filter as _, PeerNames, Routed};
use mesh_core::listener::{FilterChain, TcpTarget, Terminal};
use mesh_core::name::{NamespacedName, Text};
use mesh_core::route::FilterOverride;
use mesh_core::workload::Workload;

use super::mesh::Mesh;
use super::outcome::{Access, Cause, Outcome, Point, PolicyRef, RouteAnswer, Via, Why};
use super::probe::Probe;
use super::program::{Filter, Http, Onward, Program};
use super::route;
use super::trail::Trail;
use super::walk::{Client, one};

/// What becomes of what comes to a waypoint.
pub(super) fn judge(
    mesh: &Mesh,
    program: &Program,
    to: SocketAddr,
    (client, probe): (&Client, Option<&Probe>),
    trail: Option<&Trail>,
) -> Outcome {
    let at = At { mesh, program, to, client, trail };
    let Some(chain) = program.chain(client.address(), to, probe.is_some()) else {
        return at.refused(Why::NotServed, Vec::new());
    };
    if let Some(refusal) = at.connection(chain) {
        return refusal;
    }
    match (&chain.terminal, program.http(chain), probe) {
        (Terminal::Http(_), Some(http), Some(probe)) => at.request(http, probe),
        (Terminal::Http(_), ..) => at.refused(Why::NotHttp, Vec::new()),
        (Terminal::Tcp(proxy), ..) => {
            let clusters: Vec<(&str, u32)> = match &proxy.target {
                TcpTarget::Cluster(cluster) => vec![(cluster.as_str(), 1)],
                TcpTarget::Weighted(all) => all.iter().map(|one| (one.cluster.as_str(), one.weight)).collect(),
            };
            let answer = RouteAnswer { to: route::shares(&clusters), settings: Default::default() };
            let allowed = at.cause(Why::Unrestricted, Vec::new());
            at.onward(clusters.into_iter().map(|(cluster, _)| cluster), allowed, answer)
        }
        (Terminal::Close, ..) => at.refused(Why::NotServed, Vec::new()),
    }
}

/// A connection of a client at a waypoint.
struct At<'m> {
    mesh: &'m Mesh,
    program: &'m Program,
    to: SocketAddr,
    client: &'m Client,
    trail: Option<&'m Trail>,
}

impl At<'_> {
    fn connected(&self) -> Arc<Connection> {
        // As the end of a tunnel makes it.
        let source = SocketAddr::new(self.client.address(), 0);
        let peer = PeerNames { uris: self.client.uris().to_vec(), ..PeerNames::default() };
        Arc::new(Connection { peer: Some(peer), ..Connection::new(source, self.to) })
    }

    /// Why the connection is refused before there is a request.
    fn connection(&self, chain: &FilterChain) -> Option<Outcome> {
        if chain.rbac.is_empty() {
            return None;
        }
        let connection = self.connected();
        let facts = connection.facts();
        chain.rbac.iter().find_map(|rbac| {
            self.note(rbac.filter.rules.as_ref(), &facts);
            match rbac.filter.evaluate(&facts) {
                Verdict::Denied(denial) => Some(self.denied(denial.policy.as_ref(), rbac.filter.rules.as_ref())),
                Verdict::Allowed(_) => None,
            }
        })
    }

    /// Notes what access control says.
    fn note(&self, rules: Option<&Rbac>, facts: &Facts<'_>) {
        if let (Some(trail), Some(rbac)) = (self.trail, rules) {
            trail.rules(self.mesh, rbac, facts, &Point::Waypoint(self.program.key.clone()));
        }
    }

    fn request(&self, http: &Http, probe: &Probe) -> Outcome {
        let probe = match http.manager.path.apply(probe.target()) {
            Ok(normal) if normal.target == probe.target() => Cow::Borrowed(probe),
            Ok(normal) => Cow::Owned(probe.clone().with_target(&normal.target)),
            Err(error) => return self.refused(Why::BadPath(error.to_string()), Vec::new()),
        };
        let peer = self.client.uris().first().map(Text::as_str);
        let request = probe.request(self.client.address(), peer);
        let mut exchange = Exchange::new(self.connected());
        exchange.random = 0;
        exchange.route = match http.routes.as_ref().map(|table| table.select(&request, 0)) {
            Some(Ok(selection)) => Routed::To(selection),
            Some(Err(unrouted)) => Routed::Nowhere(unrouted),
            None => Routed::Unasked,
        };
        let mut allowed = self.cause(Why::Unrestricted, Vec::new());
        let mut asked = None;
        for filter in &http.filters {
            match filter {
                Filter::Access { rules, notes } => {
                    if let Some(notes) = notes {
                        let _ = notes.on_request(&mut probe.parts(), &mut exchange);
                    }
                    let facts = Facts {
                        request: Some(request),
                        metadata: Some(&exchange.metadata),
                        ..exchange.connection.facts()
                    };
                    self.note(rules.rules(), &facts);
                    match rules.evaluate(&facts) {
                        Verdict::Denied(denial) => return self.denied(denial.policy.as_ref(), rules.rules()),
                        Verdict::Allowed(permit) if !rules.logs() => {
                            if let Some(policy) = permit.policy() {
                                allowed = self.cause(Why::Allowed, vec![reference(policy)]);
                            }
                        }
                        Verdict::Allowed(_) => {}
                    }
                }
                Filter::Authorizer { name, settings } => {
                    let asks = settings.enabled_metadata.as_ref();
                    let said = exchange.selection().and_then(|route| route.selected().filter(name.as_str()));
                    let disabled = matches!(said, Some(FilterOverride::Disabled));
                    if !disabled && asks.is_none_or(|matcher| matcher.is_match(&exchange.metadata)) {
                        asked.get_or_insert_with(|| self.cause(Why::Authorizer(name.to_string()), Vec::new()));
                    }
                }
                Filter::Tokens(tokens) => match known_issuer(tokens, &probe) {
                    Some(true) => exchange.metadata = merged(&exchange, &probe),
                    Some(false) => return self.refused(Why::UnknownIssuer, Vec::new()),
                    None => {}
                },
            }
        }
        let (answer, clusters) = route::answer(&exchange.route, &request);
        if let (Some(trail), Some(selection)) = (self.trail, exchange.selection()) {
            trail.route(self.mesh, selection.selected().route, &answer);
        }
        let passed = asked.clone().unwrap_or(allowed);
        let mut outcome = self.onward(clusters.iter().map(String::as_str), passed, answer);
        if asked.is_some() && outcome.access == Access::Open {
            outcome.access = Access::Asked;
        }
        outcome
    }

    /// What becomes of what passed, at the endpoints that it goes to.
    fn onward<'c>(&self, clusters: impl Iterator<Item = &'c str>, passed: Cause, answer: RouteAnswer) -> Outcome {
        let via = Via::Waypoint(self.program.key.clone());
        let mut ways = Vec::new();
        for cluster in clusters {
            match self.program.onward(cluster, self.to) {
                Onward::To([]) => ways.push(self.refused(Why::NoEndpoint(route::cluster(cluster)), Vec::new())),
                Onward::To(targets) => {
                    for target in targets {
                        let Some(workload) = &target.workload else { continue };
                        let workload = Arc::clone(workload);
                        ways.push(self.behind(workload, target.address, target.tunnelled));
                    }
                }
                Onward::Addressed(to) => {
                    if let Some(workload) = self.mesh.catalog.workload_at(&self.mesh.network, to.ip()) {
                        ways.push(self.behind(Arc::clone(workload), to, true));
                    }
                }
                Onward::Outside | Onward::Nowhere => {}
            }
        }
        let mut outcome = match ways.is_empty() {
            true => one(Access::Open, vec![via.clone()], passed.clone()),
            false => Outcome::of(ways),
        };
        if outcome.access == Access::Open {
            outcome.causes = vec![passed];
        }
        outcome.via = vec![via];
        outcome.routes = vec![Arc::new(answer)];
        outcome
    }

    fn behind(&self, workload: Arc<Workload>, to: SocketAddr, tunnelled: bool) -> Outcome {
        if let Some(trail) = self.trail {
            trail.endpoint(&workload, to, tunnelled);
        }
        self.mesh.behind(self.program, workload, (to, tunnelled), self.trail)
    }

    fn cause(&self, why: Why, policies: Vec<PolicyRef>) -> Cause {
        Cause::new(Point::Waypoint(self.program.key.clone()), why, policies)
    }

    fn refused(&self, why: Why, policies: Vec<PolicyRef>) -> Outcome {
        one(Access::Refused, vec![Via::Waypoint(self.program.key.clone())], self.cause(why, policies))
    }

    fn denied(&self, policy: Option<&Text>, rules: Option<&Rbac>) -> Outcome {
        if let Some(policy) = policy {
            return self.refused(Why::Denied, vec![reference(policy)]);
        }
        let all = rules.into_iter().flat_map(|rbac| rbac.policies.keys());
        let mut policies: Vec<_> = all.map(|policy| PolicyRef { rule: None, ..reference(policy) }).collect();
        policies.dedup();
        self.refused(Why::NoneAllows, policies)
    }
}

/// The policy and the rule that a name of access control says: `ns[shop]-policy[readers]-rule[0]`, whatever stands
/// before.
pub(super) fn reference(policy: &Text) -> PolicyRef {
    let parse = || {
        let (_, rest) = policy.as_str().split_once("ns[")?;
        let (namespace, rest) = rest.split_once("]-policy[")?;
        let (name, rule) = rest.split_once("]-rule[")?;
        Some(PolicyRef { name: NamespacedName::new(namespace, name), rule: rule.strip_suffix(']')?.parse().ok() })
    };
    parse().unwrap_or_else(|| PolicyRef { name: NamespacedName::new("", policy.clone()), rule: None })
}

/// Whether the token of a request, if it has one, is of an issuer that is known. That such a token is good is taken for
/// granted.
fn known_issuer(tokens: &Authentication, probe: &Probe) -> Option<bool> {
    let claims = probe.token.as_ref()?;
    let issuer = claims.get("iss").and_then(serde_json::Value::as_str);
    let mut providers = tokens.providers.values();
    Some(providers.any(|provider| provider.issuer.as_ref().is_none_or(|known| Some(known.as_str()) == issuer)))
}

fn merged(exchange: &Exchange, probe: &Probe) -> mesh_core::request::Metadata {
    let mut metadata = exchange.metadata.clone();
    for (filter, values) in probe.metadata(PAYLOAD).iter() {
        metadata.merge(filter.as_str(), values.clone());
    }
    metadata
}

/// All policies of a chain that may refuse, by name.
pub(super) fn policies(http: &Http) -> Vec<PolicyRef> {
    let rules = http.filters.iter().filter_map(|filter| match filter {
        Filter::Access { rules, .. } => Some(rules.to_filter()),
        Filter::Authorizer { .. } | Filter::Tokens(_) => None,
    });
    let names = |filter: RbacFilter| filter.rules.into_iter().flat_map(|rbac| rbac.policies.into_keys());
    let mut all: Vec<_> = rules.flat_map(names).map(|name| PolicyRef { rule: None, ..reference(&name) }).collect();
    all.sort();
    all.dedup();
    all
}

/// The rules of a chain, in the order in which requests pass them.
pub(super) fn rules(http: &Http) -> impl Iterator<Item = &FilterRules> {
    http.filters.iter().filter_map(|filter| match filter {
        Filter::Access { rules, .. } => Some(&**rules),
        Filter::Authorizer { .. } | Filter::Tokens(_) => None,
    })
}
