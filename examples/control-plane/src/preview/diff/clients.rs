//! Who connects, in two worlds at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use mesh_core::authz::{Policy, Rule};
use mesh_core::name::{Network, ServiceAccount, SpiffeId, Text, Uid, parse_spiffe_id, parse_trust_domain};
use mesh_core::service::{LoadBalancing, Visibility};
use mesh_core::workload::{TunnelProtocol, Workload};

use super::super::find::made_up;
use super::super::mesh::Mesh;
use super::super::walk::Client;
use crate::resource::{AuthorizationPolicy, SourceMatch};

/// Clients that nobody can tell apart, in either world.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) old: Client,
    pub(super) new: Client,
    /// How people call it.
    pub(super) label: Label,
    /// The workloads that it stands for; none of who is made up.
    pub(super) members: Vec<Uid>,
    /// Whether it is not in one world what it is in the other.
    pub(super) changed: bool,
    /// What it can be told apart by, beside its identity.
    pub(super) old_traits: Traits,
    pub(super) new_traits: Traits,
    /// From where it looks at the ways, by number: groups of one vantage have the same ways to everything.
    pub(super) vantage: usize,
}

/// What ways and policies see of a client beside its identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Traits {
    pub(super) captured: bool,
    network: Network,
    /// Empty where namespaces make no difference.
    namespace: Text,
    /// Where it runs, where that makes a difference.
    locality: Option<(String, Text, Text)>,
    /// Which of the ranges of policies it is in.
    pub(super) ranges: Vec<bool>,
}

/// How people call clients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// Workloads of an account: its namespace, its name, and what more there is to say.
    Account(String, String, String),
    /// An identity that is no account.
    Identity(String),
    /// Any identity of the mesh that nobody names.
    Stranger,
    /// A workload that is not in the mesh.
    Outside(String),
    /// Anybody in plaintext, from an address of a range or from one of none.
    Plaintext(Option<IpNet>),
}

/// Everybody there is.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub(super) groups: Vec<Group>,
    /// By vantage, one group that has it.
    pub(super) vantages: Vec<usize>,
}

/// By what clients are told apart in two worlds.
struct Sight {
    ranges: Vec<IpNet>,
    by_namespace: bool,
    by_locality: bool,
}

impl Clients {
    /// All workloads that are in both worlds, the identities of those that are in one, those that policies name, and
    /// somebody whom nobody names.
    pub(super) fn of(old: &Mesh, new: &Mesh) -> Self {
        let sight = Sight::of(old, new);
        let mut clients = Builder {
            sight: &sight,
            groups: Vec::new(),
            known: HashMap::new(),
            vantages: HashMap::new(),
            first: Vec::new(),
        };
        let mut accounts: BTreeSet<SpiffeId> = BTreeSet::new();
        let mut leftover: BTreeMap<SpiffeId, Arc<Workload>> = BTreeMap::new();
        let mut workloads: Vec<_> = old.catalog.workloads().chain(new.catalog.workloads()).collect();
        workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
        workloads.dedup_by(|a, b| a.uid == b.uid);
        for workload in workloads {
            let uid = workload.uid.as_str();
            let (before, after) = (old.catalog.workload(uid), new.catalog.workload(uid));
            let is_waypoint = |mesh: &Mesh, of: Option<&Arc<Workload>>| of.is_some_and(|it| mesh.is_waypoint(it));
            if is_waypoint(old, before) || is_waypoint(new, after) {
                continue;
            }
            match (before, after) {
                (Some(before), Some(after)) => {
                    let pair = (Client::of(before), Client::of(after));
                    accounts.extend(pair.0.identity.iter().chain(&pair.1.identity).cloned());
                    let label = Label::of(before, after);
                    clients.add(pair.0, pair.1, label, Some(workload.uid.clone()));
                }
                (Some(only), None) | (None, Some(only)) if only.tunnel == TunnelProtocol::Hbone => {
                    leftover.insert(only.spiffe_id(), Arc::clone(only));
                }
                _ => {}
            }
        }
        for (identity, workload) in leftover {
            if accounts.insert(identity) {
                let client = Client::of(&workload);
                let label = Label::of(&workload, &workload);
                clients.add(client.clone(), client, label, None);
            }
        }
        for identity in named(old).into_iter().chain(named(new)) {
            if accounts.insert(identity.clone())
                && let Some(client) = made_up(new, Some(identity.clone()), None)
            {
                clients.add(client.clone(), client, Label::of_identity(&identity), None);
            }
        }
        clients.strangers(new, &accounts);
        Self { groups: clients.groups, vantages: clients.first }
    }
}

impl Traits {
    /// The same, without what only policies see.
    fn without_ranges(&self) -> Self {
        Self { ranges: Vec::new(), ..self.clone() }
    }
}

impl Sight {
    fn of(old: &Mesh, new: &Mesh) -> Self {
        let mut ranges = BTreeSet::new();
        for policy in old.policies.iter().chain(new.policies.iter()) {
            ranges_of(policy, &mut ranges);
        }
        for source in sources(old).chain(sources(new)) {
            let blocks =
                [&source.ip_blocks, &source.not_ip_blocks, &source.remote_ip_blocks, &source.not_remote_ip_blocks];
            ranges.extend(blocks.into_iter().flatten().filter_map(|text| range(text)));
        }
        for values in conditions(old, "source.ip").chain(conditions(new, "source.ip")) {
            ranges.extend(range(values));
        }
        for values in conditions(old, "remote.ip").chain(conditions(new, "remote.ip")) {
            ranges.extend(range(values));
        }
        let is_plain = |balancing: &LoadBalancing| balancing.preference.is_empty();
        let services = || old.catalog.services().chain(new.catalog.services());
        Self {
            ranges: ranges.into_iter().collect(),
            by_namespace: services().any(|service| service.visibility != Visibility::Public)
                || shares_names(old)
                || shares_names(new),
            by_locality: services().any(|service| !is_plain(&service.load_balancing)),
        }
    }

    fn traits(&self, client: &Client) -> Traits {
        let workload = &client.workload;
        let locality = || (workload.locality.to_string(), workload.node.clone(), workload.cluster_id.clone());
        let address = client.address();
        Traits {
            captured: client.identity.is_some(),
            network: workload.network.clone(),
            namespace: if self.by_namespace { workload.namespace.clone() } else { Text::default() },
            locality: self.by_locality.then(locality),
            ranges: self.ranges.iter().map(|range| range.contains(&address)).collect(),
        }
    }
}

struct Builder<'s> {
    sight: &'s Sight,
    groups: Vec<Group>,
    known: HashMap<(Option<SpiffeId>, Option<SpiffeId>, Traits, Traits), usize>,
    vantages: HashMap<(Traits, Traits), usize>,
    /// By vantage, the first group that has it.
    first: Vec<usize>,
}

impl Builder<'_> {
    fn add(&mut self, old: Client, new: Client, label: Label, member: Option<Uid>) {
        let (old_traits, new_traits) = (self.sight.traits(&old), self.sight.traits(&new));
        let key = (old.identity.clone(), new.identity.clone(), old_traits.clone(), new_traits.clone());
        // Who is not in the mesh has no identity to be called by.
        let shared = old.identity.is_some() && new.identity.is_some();
        if shared && let Some(group) = self.known.get(&key).and_then(|at| self.groups.get_mut(*at)) {
            group.members.extend(member);
            return;
        }
        if shared {
            self.known.insert(key, self.groups.len());
        }
        let changed = old.identity != new.identity || old_traits != new_traits;
        let members = member.into_iter().collect();
        let (first, number) = (&mut self.first, self.groups.len());
        let vantage = (old_traits.without_ranges(), new_traits.without_ranges());
        let vantage = *self.vantages.entry(vantage).or_insert_with(|| {
            first.push(number);
            first.len() - 1
        });
        self.groups.push(Group { old, new, label, members, changed, old_traits, new_traits, vantage });
    }

    /// Those that nobody names: of the mesh, and in plaintext, at an address of each range and at one of none.
    fn strangers(&mut self, mesh: &Mesh, known: &BTreeSet<SpiffeId>) {
        let outside = outside(&self.sight.ranges);
        let fresh = |name: &str| known.iter().all(|id| !id.path().contains(name));
        let name = ["another", "somebody-else", "stranger-4711"].into_iter().find(|name| fresh(name));
        let account = name.and_then(|name| ServiceAccount::new(mesh.place.trust_domain.clone(), name, name).ok());
        if let Some(account) = account
            && let Some(client) = made_up(mesh, Some(account.to_spiffe_id()), outside)
        {
            self.add(client.clone(), client, Label::Stranger, None);
        }
        let ranges = self.sight.ranges.clone();
        let inside = ranges.iter().map(|range| (Some(*range), Some(range.addr())));
        for (range, address) in std::iter::once((None, outside)).chain(inside) {
            if let Some(client) = made_up(mesh, None, address) {
                self.add(client.clone(), client, Label::Plaintext(range), None);
            }
        }
    }
}

impl Label {
    fn of(before: &Workload, after: &Workload) -> Self {
        let captured = |workload: &Workload| workload.tunnel == TunnelProtocol::Hbone;
        let (namespace, account) = (after.identity.namespace().to_string(), after.identity.name().to_string());
        let note = match (captured(before), captured(after)) {
            (false, false) => return Self::Outside(format!("{}/{}", after.namespace, after.name)),
            (true, false) => "leaves the mesh".to_owned(),
            (false, true) => "joins the mesh".to_owned(),
            (true, true) if before.identity != after.identity => {
                format!("was sa/{} in {}", before.identity.name(), before.identity.namespace())
            }
            (true, true) => String::new(),
        };
        Self::Account(namespace, account, note)
    }

    fn of_identity(identity: &SpiffeId) -> Self {
        match ServiceAccount::from_spiffe_id(identity) {
            Some(account) => {
                Self::Account(account.namespace().to_string(), account.name().to_string(), "no workload".to_owned())
            }
            None => Self::Identity(identity.to_string()),
        }
    }
}

/// An address that no range holds; the unspecified one where there is none.
fn outside(ranges: &[IpNet]) -> Option<IpAddr> {
    let blocks = [[192, 0, 2, 1], [198, 51, 100, 1], [203, 0, 113, 1], [100, 64, 0, 1], [233, 252, 0, 1]];
    let mut candidates = blocks.into_iter().map(|block| IpAddr::V4(Ipv4Addr::from(block)));
    candidates.find(|ip| !ranges.iter().any(|range| range.contains(ip)))
}

/// Whether two services share a host name or an address, so that it depends on the client which is meant.
fn shares_names(mesh: &Mesh) -> bool {
    let mut seen = BTreeSet::new();
    mesh.catalog.services().any(|service| {
        let twice = !seen.insert(service.key.hostname.to_string());
        let wide = service.vips.iter().any(|(_, range)| range.prefix_len() < range.max_prefix_len());
        let shared = service
            .vips
            .iter()
            .any(|(network, range)| mesh.catalog.services_at(network, range.addr()).nth(1).is_some());
        twice || wide || shared
    })
}

fn ranges_of(policy: &Policy, ranges: &mut BTreeSet<IpNet>) {
    let matches = policy.rules.iter().flat_map(|rule: &Rule| &rule.clauses).flat_map(|clause| &clause.matches);
    ranges.extend(matches.flat_map(|entry| entry.source_ips.iter().chain(&entry.not_source_ips)).copied());
}

fn specs(mesh: &Mesh) -> impl Iterator<Item = &AuthorizationPolicy> {
    mesh.world.policies.values().map(|(_, policy)| policy)
}

/// What the policies of a world say of sources.
fn sources(mesh: &Mesh) -> impl Iterator<Item = &SourceMatch> {
    let rules = specs(mesh).flat_map(|policy| &policy.spec.rules);
    rules.flat_map(|rule| rule.from.iter().flatten()).map(|from| &from.source)
}

/// The values of conditions with a key.
fn conditions<'m>(mesh: &'m Mesh, key: &'static str) -> impl Iterator<Item = &'m String> {
    let rules = specs(mesh).flat_map(|policy| &policy.spec.rules);
    let of_key = rules.flat_map(|rule| rule.when.iter().flatten()).filter(move |when| when.key == key);
    of_key.flat_map(|when| when.values.iter().chain(&when.not_values))
}

fn range(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// One identity for each thing that policies ask of identities.
fn named(mesh: &Mesh) -> BTreeSet<SpiffeId> {
    let mut all = BTreeSet::new();
    let domain = &mesh.place.trust_domain;
    let account = |namespace: &str, name: &str| ServiceAccount::new(domain.clone(), namespace, name).ok();
    // A star stands for anything; a name that is none is nobody's.
    let filled = |text: &str| text.replace('*', "x");
    let mut principal = |text: &String| {
        let whole = match text.as_str() {
            text if text.starts_with('*') => format!("{domain}/ns/x{}", filled(text)),
            text => filled(text),
        };
        let candidates = [whole.clone(), format!("{whole}/ns/x/sa/x"), format!("{whole}/sa/x")];
        all.extend(candidates.into_iter().find_map(|text| parse_spiffe_id(&format!("spiffe://{text}")).ok()));
    };
    for source in sources(mesh) {
        source.principals.iter().chain(&source.not_principals).for_each(&mut principal);
    }
    conditions(mesh, "source.principal").for_each(&mut principal);
    let in_namespace = sources(mesh).flat_map(|source| source.namespaces.iter().chain(&source.not_namespaces));
    for namespace in in_namespace.chain(conditions(mesh, "source.namespace")) {
        all.extend(account(&filled(namespace), "another").map(|account| account.to_spiffe_id()));
    }
    for source in sources(mesh) {
        for domain in source.trust_domains.iter().chain(&source.not_trust_domains) {
            let domain = parse_trust_domain(&filled(domain)).ok();
            let account = domain.and_then(|domain| ServiceAccount::new(domain, "another", "another").ok());
            all.extend(account.map(|account| account.to_spiffe_id()));
        }
    }
    for policy in specs(mesh) {
        let rules = || policy.spec.rules.iter().flat_map(|rule| rule.from.iter().flatten());
        let accounts =
            rules().flat_map(|from| from.source.service_accounts.iter().chain(&from.source.not_service_accounts));
        for text in accounts {
            let (namespace, name) = text.split_once('/').unwrap_or((&policy.metadata.namespace, text));
            all.extend(account(namespace, name).map(|account| account.to_spiffe_id()));
        }
    }
    all
}
