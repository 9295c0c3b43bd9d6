use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use mesh_core::authz::{Action, Clause, Match, Policy, Rule, Scope, ServiceAccountMatch};
use mesh_core::name::{NamespacedName, Text};
use mesh_core::string_match::StringMatch;

use super::facts::{PolicySource, Reader};
use super::{Place, peer, selects};
use crate::finding::Severity;
use crate::resource::{AuthorizationPolicy, AuthorizationRule, Kind, ObjectId, Operation, SourceMatch, When};

/// What is wrong with a policy.
type Faults = Vec<(Severity, String)>;

/// The policies that a workload of these labels must name. `selecting` are the objects that may select it.
pub(super) fn named(
    reader: &Reader<'_>,
    namespace: &Text,
    labels: &BTreeMap<String, String>,
    selecting: &BTreeSet<&ObjectId>,
) -> Vec<NamespacedName> {
    let mut policies = Vec::new();
    let mut peers = Vec::new();
    for id in selecting {
        match id.kind {
            Kind::AuthorizationPolicy => {
                let Some(source) = reader.policy(&id.name).filter(|source| is_for_workloads(source)) else { continue };
                if source.spec.selector.as_ref().is_some_and(|selector| selects(&selector.match_labels, labels)) {
                    policies.push(id.name.clone());
                }
            }
            Kind::PeerAuthentication => {
                let source = reader.peer(&id.name);
                peers.extend(
                    source.filter(|peer| peer::selector(peer).is_some_and(|selector| selects(selector, labels))),
                );
            }
            _ => {}
        }
    }
    policies.extend(peer::named(reader, namespace, &peers));
    policies.sort();
    policies.dedup();
    policies
}

/// The name of the policy that is made of something.
pub(super) fn name(source: &PolicySource, place: &Place) -> NamespacedName {
    match source {
        PolicySource::Authorization(key) => key.clone(),
        PolicySource::Strict => peer::strict_name(&place.root_namespace),
        PolicySource::Peer(key) => peer::by_port_name(key),
    }
}

/// The policy that is made of something, if it is there and comes to one. That of [`PolicySource::Strict`] is there as long
/// as any object could need it.
pub(super) fn made(reader: &Reader<'_>, source: &PolicySource) -> Option<Policy> {
    match source {
        PolicySource::Authorization(key) => translate(key, reader.policy(key)?, &reader.place().root_namespace).0,
        PolicySource::Strict => Some(peer::strict(&reader.place().root_namespace)),
        PolicySource::Peer(key) => {
            peer::by_port(reader, reader.peer(key).filter(|peer| peer::selector(peer).is_some())?)
        }
    }
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
    if is_for_waypoints(source) {
        return (None, super::waypoint::policy_faults(key, source));
    }
    let Some(action) = action(source) else {
        let other = spec.action.as_deref().unwrap_or_default();
        let message = format!("spec.action: `{other}` is not enforced at L4; ALLOW and DENY are");
        faults.push((Severity::Error, message));
        return (None, faults);
    };
    let mut rules = Vec::new();
    for (index, source) in spec.rules.iter().enumerate() {
        let mut reader = RuleReader { at: format!("spec.rules[{index}]"), l7: Vec::new(), faults: &mut faults };
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

fn is_for_waypoints(source: &AuthorizationPolicy) -> bool {
    source.spec.target_ref.is_some() || !source.spec.target_refs.is_empty()
}

/// Whether node proxies have it, so that workloads name it.
fn is_for_workloads(source: &AuthorizationPolicy) -> bool {
    !is_for_waypoints(source) && action(source).is_some()
}

fn action(source: &AuthorizationPolicy) -> Option<Action> {
    match source.spec.action.as_deref().unwrap_or("ALLOW") {
        "ALLOW" => Some(Action::Allow),
        "DENY" => Some(Action::Deny),
        _ => None,
    }
}

/// Reads the parts of a rule, and notes what is wrong with them.
struct RuleReader<'a> {
    at: String,
    l7: Vec<String>,
    faults: &'a mut Faults,
}

impl RuleReader<'_> {
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
