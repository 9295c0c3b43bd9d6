//! Every decision of two worlds beside each other.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mesh_core::authz::Policy;
use mesh_core::authz::rbac::{Principal, Rbac};
use mesh_core::listener::{FilterChain, Terminal};
use mesh_core::name::{NamespacedHostname, NamespacedName};
use mesh_core::string_match::Pattern;
use mesh_core::workload::Workload;

use super::super::mesh::Mesh;
use super::super::outcome::Outcome;
use super::super::program::{Onward, Program};
use super::super::walk::{Addressee, Client, Plan, Step};
use super::super::waypoint;
use super::clients::{Clients, Group};
use super::evaluation::{Evaluation, World};
use super::probes::Probes;
use super::shift::Shift;
use super::subjects::{Name, Subject};
use super::wishes::Wishes;
use crate::parallel;

/// Subjects that a thread compares at least.
const OF_A_THREAD: usize = 8;

/// Clients that a change does one thing to, at one port.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) shift: Shift,
    pub(super) subject: usize,
    pub(super) port: u16,
    /// By number.
    pub(super) groups: Vec<usize>,
    /// The requests, by number among those of the port.
    #[cfg(test)]
    pub(super) probes: Vec<u16>,
    /// The same in words.
    pub(super) requests: Vec<String>,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// Ports at which not all requests were tried that can be told apart.
    pub(super) cut: Vec<(NamespacedHostname, u16)>,
}

/// Two worlds.
pub(super) struct Pair<'m> {
    pub(super) old: &'m Mesh,
    pub(super) new: &'m Mesh,
    /// Waypoints that do in both worlds the same, and are let in by the same endpoints.
    same: HashMap<NamespacedName, bool>,
}

/// The ways from one point of view, in both worlds.
struct Plans<'m> {
    old: Plan<'m>,
    new: Plan<'m>,
    /// Whether they are decided about in the same way.
    same: bool,
    /// Whether they say nothing that their endpoints do not say.
    implied: bool,
}

impl<'m> Pair<'m> {
    pub(super) fn new(old: &'m Mesh, new: &'m Mesh) -> Self {
        let pair = |program: &Program| -> bool {
            let other = new.programs.iter().find(|other| other.key == program.key);
            other.is_some_and(|other| program == other && admitted(old, program) == admitted(new, other))
        };
        let same = old.programs.iter().map(|program| (program.key.clone(), pair(program))).collect();
        Self { old, new, same }
    }

    /// All that differs.
    pub(super) fn rows(&self, clients: &Clients, subjects: &[Subject]) -> Rows {
        let numbered: Vec<(usize, &Subject)> = subjects.iter().enumerate().collect();
        let of_subjects = parallel::map(&numbered, OF_A_THREAD, |(at, subject)| {
            let mut rows = Rows::default();
            for port in &subject.ports {
                self.port(clients, (*at, subject), *port, &mut rows);
            }
            rows
        });
        let mut all = Rows::default();
        for rows in of_subjects {
            all.rows.extend(rows.rows);
            all.cut.extend(rows.cut);
        }
        all
    }

    fn port(&self, clients: &Clients, (at, subject): (usize, &Subject), port: u16, rows: &mut Rows) {
        let plans = self.all_plans(clients, subject, port);
        let wanted = |(number, group): (usize, &Group)| {
            let plans = plans.get(group.vantage)?;
            (!plans.implied && (!plans.same || group.changed)).then_some(number)
        };
        let asked: Vec<usize> = clients.groups.iter().enumerate().filter_map(wanted).collect();
        if asked.is_empty() {
            return;
        }
        let key = self.host(subject);
        let (probes, patterns) = universe(&plans, key);
        if probes.cut
            && let Some(key) = key
        {
            rows.cut.push((key.clone(), port));
        }
        let mut evaluation = Evaluation::new(&probes, &patterns);
        let mut pairs: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for number in asked {
            let Some(group) = clients.groups.get(number) else { continue };
            let Some(both) = plans.get(group.vantage) else { continue };
            let old = evaluation.see(self.old, &both.old, (group, World::Old), number);
            let new = evaluation.see(self.new, &both.new, (group, World::New), number);
            pairs.entry((old, new)).or_default().push(number);
        }
        let mut found: BTreeMap<(Shift, Vec<u16>), Vec<usize>> = BTreeMap::new();
        for ((old, new), groups) in pairs {
            for shift in evaluation.shifts(old, new) {
                found.entry(shift).or_default().extend(&groups);
            }
        }
        for ((shift, numbers), mut groups) in found {
            groups.sort_unstable();
            let requests = probes.describe(&numbers);
            rows.rows.push(Row {
                shift,
                subject: at,
                port,
                groups,
                #[cfg(test)]
                probes: numbers,
                requests,
            });
        }
    }

    /// The ways that there are to a port, by vantage.
    fn all_plans(&self, clients: &Clients, subject: &Subject, port: u16) -> Vec<Plans<'m>> {
        let Some(addressee) = subject.addressee(port) else { return Vec::new() };
        let groups = clients.vantages.iter().filter_map(|group| clients.groups.get(*group));
        groups.map(|group| self.plans(subject, group, &addressee)).collect()
    }

    /// The service by whose name requests to a subject ask for it.
    fn host<'s>(&'s self, subject: &'s Subject) -> Option<&'s NamespacedHostname> {
        match &subject.name {
            Name::Service(key) => Some(key),
            Name::Workloads(uids) => {
                let workload = self.new.catalog.workload(uids.first()?.as_str())?;
                workload.services.keys().next()
            }
        }
    }

    fn plans(&self, subject: &Subject, group: &Group, addressee: &Addressee) -> Plans<'m> {
        let old = self.old.plan(&group.old, addressee);
        let new = self.new.plan(&group.new, addressee);
        let is_service = matches!(subject.name, Name::Service(_));
        let paired = old.steps.len() == new.steps.len();
        let steps = || old.steps.iter().zip(&new.steps);
        let same =
            paired && steps().all(|(old, new)| self.is_same(old, new)) && (is_service || self.node_is_same(subject));
        let straight =
            |(old, new): (&Step<'_>, &Step<'_>)| old.endpoint().is_some() && old.endpoint() == new.endpoint();
        // A workload that is addressed by itself may have another way than by a service: through a waypoint of its own.
        let alone = |step: &Step<'_>| {
            step.endpoint().is_some_and(|(uid, to)| {
                let itself = Addressee::Workload(uid.clone(), to.port());
                let leads_there = |mesh: &'m Mesh, client: &Client| {
                    let plan = mesh.plan(client, &itself);
                    matches!(plan.steps.as_slice(), [only] if only.endpoint() == Some((uid, to)))
                };
                leads_there(self.old, &group.old) && leads_there(self.new, &group.new)
            })
        };
        let implied = is_service && paired && steps().all(straight) && old.steps.iter().all(alone);
        Plans { old, new, same, implied }
    }

    /// The requests that are tried at a port.
    #[cfg(test)]
    pub(super) fn probes(&self, clients: &Clients, subject: &Subject, port: u16) -> Probes {
        universe(&self.all_plans(clients, subject, port), self.host(subject)).0
    }

    fn is_same(&self, old: &Step<'_>, new: &Step<'_>) -> bool {
        match (old, new) {
            (Step::Refused { word: old, .. }, Step::Refused { word: new, .. }) => old == new,
            (Step::Outside(_), Step::Outside(_)) | (Step::Remote, Step::Remote) | (Step::Foreign, Step::Foreign) => {
                true
            }
            (Step::Node(old), Step::Node(new)) => {
                old.to == new.to && old.tunnelled == new.tunnelled && self.judges_alike(&old.workload, &new.workload)
            }
            (Step::Waypoint { program: old, to: before }, Step::Waypoint { program: new, to: after }) => {
                old.key == new.key && before == after && self.same.get(&old.key) == Some(&true)
            }
            _ => false,
        }
    }

    /// Whether the node proxies of a workload that is addressed by itself judge alike, whoever connects.
    fn node_is_same(&self, subject: &Subject) -> bool {
        let Name::Workloads(uids) = &subject.name else { return true };
        let Some(uid) = uids.first() else { return true };
        match (self.old.catalog.workload(uid.as_str()), self.new.catalog.workload(uid.as_str())) {
            (Some(old), Some(new)) => self.judges_alike(old, new),
            _ => false,
        }
    }

    fn judges_alike(&self, old: &Workload, new: &Workload) -> bool {
        let content = |mesh: &'m Mesh, workload: &Workload| -> Vec<&'m Policy> {
            mesh.applicable(workload).into_iter().map(Arc::as_ref).collect()
        };
        let missing =
            |mesh: &Mesh, workload: &Workload| workload.policies.iter().any(|name| mesh.policies.get(name).is_none());
        old.namespace == new.namespace
            && old.tunnel == new.tunnel
            && content(self.old, old) == content(self.new, new)
            && missing(self.old, old) == missing(self.new, new)
    }
}

/// The requests that have to be tried, and by what clients are told apart.
fn universe(plans: &[Plans<'_>], key: Option<&NamespacedHostname>) -> (Probes, Vec<Pattern>) {
    let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut wishes = Wishes::default();
    let mut patterns = Vec::new();
    let (mut reads_http, mut takes_others) = (false, true);
    let mut seen: Vec<(*const Program, std::net::SocketAddr)> = Vec::new();
    for step in plans.iter().flat_map(|plans| plans.old.steps.iter().chain(&plans.new.steps)) {
        let Step::Waypoint { program, to: Some(to) } = step else { continue };
        let id = (std::ptr::from_ref(*program), *to);
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        for http in [true, false] {
            let Some(chain) = program.chain(nobody, *to, http) else { continue };
            peers_of_chain(chain, &mut patterns);
            let Some(does) = program.http(chain) else { continue };
            for rules in waypoint::rules(does) {
                let filter = rules.to_filter();
                filter.rules.iter().chain(&filter.shadow).for_each(|rbac| peers(rbac, &mut patterns));
            }
            let table = does.routes.iter().flat_map(|table| &table.config().hosts);
            patterns.extend(table.flat_map(|host| &host.routes).flat_map(|route| route.matcher.peer.iter().cloned()));
            reads_http = true;
            takes_others &= http;
            wishes.add(does);
        }
    }
    patterns.sort_by_key(ToString::to_string);
    patterns.dedup();
    match key.filter(|_| reads_http) {
        Some(key) => (Probes::of(&wishes, key, takes_others), patterns),
        None => (Probes::opaque(), patterns),
    }
}

fn peers_of_chain(chain: &FilterChain, patterns: &mut Vec<Pattern>) {
    if matches!(chain.terminal, Terminal::Close) {
        return;
    }
    for rbac in &chain.rbac {
        rbac.filter.rules.iter().for_each(|rbac| peers(rbac, patterns));
    }
}

fn peers(rbac: &Rbac, patterns: &mut Vec<Pattern>) {
    fn of(principal: &Principal, patterns: &mut Vec<Pattern>) {
        match principal {
            Principal::And(list) | Principal::Or(list) => list.iter().for_each(|inner| of(inner, patterns)),
            Principal::Not(inner) => of(inner, patterns),
            Principal::PeerPrincipal(pattern) | Principal::Authenticated(Some(pattern)) => {
                patterns.push(pattern.clone());
            }
            _ => {}
        }
    }
    rbac.policies.values().flat_map(|policy| &policy.principals).for_each(|principal| of(principal, patterns));
}

/// What the endpoints of a waypoint say of it.
fn admitted(mesh: &Mesh, program: &Program) -> Vec<(String, Vec<Outcome>)> {
    let mut names: Vec<_> = program.clusters.keys().collect();
    names.sort();
    let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let outcomes = |cluster: &str| match program.onward(cluster, nowhere) {
        Onward::To(targets) => {
            let known = targets.iter().filter_map(|target| Some((target, target.workload.as_ref()?)));
            known
                .map(|(target, workload)| {
                    mesh.behind(program, Arc::clone(workload), (target.address, target.tunnelled), None)
                })
                .collect()
        }
        _ => Vec::new(),
    };
    names.into_iter().map(|name| (name.to_string(), outcomes(name.as_str()))).collect()
}
