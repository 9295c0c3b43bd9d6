use std::collections::BTreeMap;

use ipnet::IpNet;
use mesh_core::authz::{Action, Clause, Match, Policy, Rule, Scope, ServiceAccountMatch};
use mesh_core::name::NamespacedName;
use mesh_core::string_match::StringMatch;

use super::{Place, selects};
use crate::admission::schema::{
    AuthorizationPolicy, AuthorizationRule, MtlsMode, Operation, PeerAuthentication, SourceMatch, When,
};
use crate::finding::Severity;
use crate::world::World;

/// Name of the policy that refuses peers without identity. Istio's, so that both control planes say the same.
pub const STRICT_POLICY: &str = "istio_converted_static_strict";

/// What is wrong with a policy.
type Faults = Vec<(Severity, String)>;

/// Which policies a workload must name.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    /// Namespace (`None`: all), labels, and the policy.
    selected: Vec<(Option<String>, BTreeMap<String, String>, NamespacedName)>,
    peers: Vec<Peer>,
    strict: Option<NamespacedName>,
}

#[derive(Debug)]
struct Peer {
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    mode: MtlsMode,
    /// A policy of its own that says all there is to say, ports included.
    converted: Option<NamespacedName>,
}

impl Attachments {
    /// The policies that a workload of these labels must name.
    pub(super) fn of(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<NamespacedName> {
        let here = |of: &Option<String>| of.as_deref().is_none_or(|of| of == namespace);
        let selected = self.selected.iter().filter(|(of, selector, _)| here(of) && selects(selector, labels));
        let mut policies: Vec<_> = selected.map(|(_, _, name)| name.clone()).collect();
        // Workload before namespace before mesh; one that does not set a mode passes the question on.
        let mut applicable: Vec<&Peer> = self
            .peers
            .iter()
            .filter(|peer| here(&peer.namespace))
            .filter(|peer| peer.labels.as_ref().is_none_or(|selector| selects(selector, labels)))
            .collect();
        applicable.sort_by_key(|peer| (peer.labels.is_none(), peer.namespace.is_none()));
        if let Some(converted) = applicable.first().and_then(|peer| peer.converted.as_ref()) {
            policies.push(converted.clone());
        } else if let Some(peer) = applicable.iter().find(|peer| peer.mode != MtlsMode::Unset)
            && peer.mode == MtlsMode::Strict
        {
            policies.extend(self.strict.clone());
        }
        policies.sort();
        policies.dedup();
        policies
    }

    /// The mode of what is wider than a workload.
    fn parent_mode(&self, namespace: &str) -> MtlsMode {
        let mut wider: Vec<&Peer> = self
            .peers
            .iter()
            .filter(|peer| peer.labels.is_none() && peer.namespace.as_deref().is_none_or(|of| of == namespace))
            .collect();
        wider.sort_by_key(|peer| peer.namespace.is_none());
        wider.iter().map(|peer| peer.mode).find(|mode| *mode != MtlsMode::Unset).unwrap_or_default()
    }
}

/// All policies, and which workloads name them.
pub(super) fn all(world: &World, place: &Place) -> (Vec<Policy>, Attachments) {
    let mut policies = BTreeMap::new();
    let mut attachments = Attachments::default();
    let everywhere = |namespace: &str| (namespace != place.root_namespace).then(|| namespace.to_owned());
    for (key, (_, source)) in &world.policies {
        let (translated, _) = translate(key, source, &place.root_namespace);
        let Some(policy) = translated else { continue };
        if let Some(selector) = source.spec.selector.as_ref().filter(|selector| !selector.match_labels.is_empty()) {
            attachments.selected.push((
                everywhere(&source.metadata.namespace),
                selector.match_labels.clone(),
                policy.name.clone(),
            ));
        }
        policies.insert(policy.name.clone(), policy);
    }
    if !world.peers.is_empty() {
        let name = NamespacedName::new(place.root_namespace.as_str(), STRICT_POLICY);
        let rules = vec![rule(vec![without_identity()])];
        policies.insert(name.clone(), Policy::new(name.clone(), Scope::WorkloadSelector, Action::Deny, rules));
        attachments.strict = Some(name);
    }
    for (_, peer) in world.peers.values() {
        let selector = peer.spec.selector.as_ref().filter(|selector| !selector.match_labels.is_empty());
        attachments.peers.push(Peer {
            namespace: everywhere(&peer.metadata.namespace),
            labels: selector.map(|selector| selector.match_labels.clone()),
            mode: peer.spec.mtls.mode,
            converted: None,
        });
    }
    for (index, (_, peer)) in world.peers.values().enumerate() {
        if attachments.peers[index].labels.is_some()
            && let Some(policy) = by_port(peer, &attachments)
        {
            attachments.peers[index].converted = Some(policy.name.clone());
            policies.insert(policy.name.clone(), policy);
        }
    }
    (policies.into_values().collect(), attachments)
}

/// The policy of a PeerAuthentication with modes per port; `None` when it has none.
fn by_port(peer: &PeerAuthentication, attachments: &Attachments) -> Option<Policy> {
    if peer.spec.port_level_mtls.is_empty() {
        return None;
    }
    let mode = match peer.spec.mtls.mode {
        MtlsMode::Unset => attachments.parent_mode(&peer.metadata.namespace),
        mode => mode,
    };
    let ports = |strict: bool| {
        let of = peer.spec.port_level_mtls.iter().filter(move |(_, mtls)| match mtls.mode {
            MtlsMode::Unset => strict == (mode == MtlsMode::Strict),
            port_mode => strict == (port_mode == MtlsMode::Strict),
        });
        of.filter_map(|(port, _)| port.parse::<u16>().ok()).collect::<Vec<_>>()
    };
    let rules = if mode == MtlsMode::Strict {
        // Refused everywhere but on the open ports. A deny cannot carry exceptions of another policy, so this one says it
        // all.
        let open = Match { not_destination_ports: ports(false), ..Match::default() };
        let mut clauses = vec![without_identity()];
        clauses.extend((!open.is_empty()).then_some(open));
        vec![rule(clauses)]
    } else {
        let closed = ports(true);
        if closed.is_empty() {
            return None;
        }
        vec![rule(vec![without_identity(), Match { destination_ports: closed, ..Match::default() }])]
    };
    let name = format!("converted_peer_authentication_{}", peer.metadata.name);
    let name = NamespacedName::new(peer.metadata.namespace.as_str(), name);
    Some(Policy::new(name, Scope::WorkloadSelector, Action::Deny, rules))
}

fn without_identity() -> Match {
    Match { not_principals: vec![StringMatch::Present], ..Match::default() }
}

/// A rule whose matches must all match.
fn rule(matches: Vec<Match>) -> Rule {
    Rule { clauses: matches.into_iter().map(|entry| Clause { matches: vec![entry] }).collect() }
}

/// Translates an AuthorizationPolicy. `None` when node proxies have nothing to do with it; the faults say why, and what
/// makes it unusable.
#[must_use]
pub fn translate(
    key: &NamespacedName,
    source: &AuthorizationPolicy,
    root_namespace: &str,
) -> (Option<Policy>, Vec<(Severity, String)>) {
    let mut faults = Faults::new();
    let spec = &source.spec;
    if spec.target_ref.is_some() || !spec.target_refs.is_empty() {
        // For waypoints.
        return (None, super::waypoint::policy_faults(key, source));
    }
    let action = match spec.action.as_deref().unwrap_or("ALLOW") {
        "ALLOW" => Action::Allow,
        "DENY" => Action::Deny,
        other => {
            let message = format!("spec.action: `{other}` is not enforced at L4; ALLOW and DENY are");
            faults.push((Severity::Error, message));
            return (None, faults);
        }
    };
    let mut rules = Vec::new();
    for (index, source) in spec.rules.iter().enumerate() {
        let mut reader = Reader { at: format!("spec.rules[{index}]"), l7: Vec::new(), faults: &mut faults };
        let rule = reader.rule(source, key.namespace.as_str());
        let l7 = std::mem::take(&mut reader.l7);
        if l7.is_empty() {
            rules.push(rule);
            continue;
        }
        let fields = l7.join(", ");
        match action {
            // Without its L7 part the rule would allow more; without the rule the policy allows less.
            Action::Allow => faults.push((
                Severity::Warning,
                format!("spec.rules[{index}] has no effect at L4: {fields} can only be judged by a waypoint"),
            )),
            // Without its L7 part it would deny too much, without the rule too little. Neither was written.
            _ => faults.push((
                Severity::Error,
                format!(
                    "spec.rules[{index}] denies by {fields}, which only a waypoint can judge; it would deny nothing"
                ),
            )),
        }
    }
    let selected = spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    let scope = match selected {
        true => Scope::WorkloadSelector,
        false if key.namespace == *root_namespace => Scope::Global,
        false => Scope::Namespace,
    };
    let mut policy = Policy::new(key.clone(), scope, action, rules);
    policy.dry_run = source.metadata.annotations.get("istio.io/dry-run").is_some_and(|value| value == "true");
    (Some(policy), faults)
}

/// Reads the parts of a rule, and notes what is wrong with them.
struct Reader<'a> {
    at: String,
    l7: Vec<String>,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    fn rule(&mut self, source: &AuthorizationRule, namespace: &str) -> Rule {
        let mut clauses = Vec::new();
        let empty = |list: Option<usize>| list == Some(0);
        if empty(source.from.as_ref().map(Vec::len))
            || empty(source.to.as_ref().map(Vec::len))
            || empty(source.when.as_ref().map(Vec::len))
        {
            let message = format!("{}: an empty list; leave the field out to match everything", self.at);
            self.faults.push((Severity::Error, message));
        }
        if let Some(to) = &source.to {
            let matches = to.iter().enumerate().map(|(index, to)| {
                self.says_something(&format!("to[{index}].operation"), to.operation == Operation::default());
                self.operation(&to.operation)
            });
            clauses.push(Clause { matches: matches.collect() });
        }
        if let Some(from) = &source.from {
            let matches = from.iter().enumerate().map(|(index, from)| {
                self.says_something(&format!("from[{index}].source"), from.source == SourceMatch::default());
                self.source(&from.source, namespace)
            });
            clauses.push(Clause { matches: matches.collect() });
        }
        for when in source.when.iter().flatten() {
            clauses.push(Clause { matches: vec![self.when(when)] });
        }
        Rule { clauses }
    }

    fn says_something(&mut self, field: &str, empty: bool) {
        if empty {
            self.error(field, "says nothing; it would match nobody");
        }
    }

    fn operation(&mut self, operation: &Operation) -> Match {
        for (field, values) in [
            ("hosts", &operation.hosts),
            ("notHosts", &operation.not_hosts),
            ("methods", &operation.methods),
            ("notMethods", &operation.not_methods),
            ("paths", &operation.paths),
            ("notPaths", &operation.not_paths),
        ] {
            self.l7(field, values);
        }
        Match {
            destination_ports: self.ports("to.operation.ports", &operation.ports),
            not_destination_ports: self.ports("to.operation.notPorts", &operation.not_ports),
            ..Match::default()
        }
    }

    fn source(&mut self, source: &SourceMatch, namespace: &str) -> Match {
        for (field, values) in [
            ("trustDomains", &source.trust_domains),
            ("notTrustDomains", &source.not_trust_domains),
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
            ("remoteIpBlocks", &source.remote_ip_blocks),
            ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
        ] {
            self.l7(field, values);
        }
        Match {
            principals: self.principals("from.source.principals", &source.principals),
            not_principals: self.principals("from.source.notPrincipals", &source.not_principals),
            namespaces: strings(&source.namespaces),
            not_namespaces: strings(&source.not_namespaces),
            source_ips: self.ranges("from.source.ipBlocks", &source.ip_blocks),
            not_source_ips: self.ranges("from.source.notIpBlocks", &source.not_ip_blocks),
            service_accounts: accounts(&source.service_accounts, namespace),
            not_service_accounts: accounts(&source.not_service_accounts, namespace),
            ..Match::default()
        }
    }

    fn when(&mut self, when: &When) -> Match {
        let field = format!("when `{}`", when.key);
        match when.key.as_str() {
            "source.principal" => Match {
                principals: self.principals(&field, &when.values),
                not_principals: self.principals(&field, &when.not_values),
                ..Match::default()
            },
            "source.namespace" => Match {
                namespaces: strings(&when.values),
                not_namespaces: strings(&when.not_values),
                ..Match::default()
            },
            "source.ip" => Match {
                source_ips: self.ranges(&field, &when.values),
                not_source_ips: self.ranges(&field, &when.not_values),
                ..Match::default()
            },
            "destination.ip" => Match {
                destination_ips: self.ranges(&field, &when.values),
                not_destination_ips: self.ranges(&field, &when.not_values),
                ..Match::default()
            },
            "destination.port" => Match {
                destination_ports: self.ports(&field, &when.values),
                not_destination_ports: self.ports(&field, &when.not_values),
                ..Match::default()
            },
            _ => {
                self.l7.push(field);
                Match::default()
            }
        }
    }

    fn l7(&mut self, field: &str, values: &[String]) {
        if !values.is_empty() {
            self.l7.push(format!("`{field}`"));
        }
    }

    fn error(&mut self, field: &str, message: &str) {
        let message = format!("{}.{field}: {message}", self.at);
        self.faults.push((Severity::Error, message));
    }

    fn principals(&mut self, field: &str, values: &[String]) -> Vec<StringMatch> {
        if values.iter().any(|value| value.trim_start_matches('*').starts_with("spiffe://")) {
            self.error(field, "principals are written without `spiffe://`; with it they would never match");
        }
        strings(values)
    }

    fn ports(&mut self, field: &str, values: &[String]) -> Vec<u16> {
        let mut ports = Vec::new();
        for value in values {
            match value.parse::<u16>() {
                Ok(port) if port > 0 => ports.push(port),
                _ => self.error(field, &format!("`{value}` is no port")),
            }
        }
        ports
    }

    fn ranges(&mut self, field: &str, values: &[String]) -> Vec<IpNet> {
        let mut ranges = Vec::new();
        for value in values {
            let range = value.parse::<IpNet>().ok();
            match range.or_else(|| value.parse::<std::net::IpAddr>().ok().map(IpNet::from)) {
                Some(range) => ranges.push(range),
                None => self.error(field, &format!("`{value}` is neither an address nor a range")),
            }
        }
        ranges
    }
}

fn strings(values: &[String]) -> Vec<StringMatch> {
    values.iter().map(|value| StringMatch::parse(value)).collect()
}

fn accounts(values: &[String], namespace: &str) -> Vec<ServiceAccountMatch> {
    let account = |value: &String| {
        let (namespace, name) = value.split_once('/').unwrap_or((namespace, value.as_str()));
        ServiceAccountMatch { namespace: namespace.into(), name: name.into() }
    };
    values.iter().map(account).collect()
}
