use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::policy::{Clause, Match, Policy, Rule, ServiceAccountMatch};
use crate::name::{SpiffeId, spiffe_service_account};
use crate::string_match::StringMatch;

/// What is known of a connection when it is authorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Identity of the peer, verified; `None` for plaintext.
    pub peer: Option<&'a SpiffeId>,
    /// Address of the peer as the destination sees it (that of a waypoint or gateway, when one stands between).
    pub source: IpAddr,
    /// Where the connection leads, after decapsulation.
    pub destination: SocketAddr,
}

/// The parts of a connection that policies look at, split once.
pub(super) struct Facts<'a> {
    trust_domain: &'a str,
    path: &'a str,
    account: Option<(&'a str, &'a str)>,
    source: IpAddr,
    destination: SocketAddr,
}

impl<'a> Facts<'a> {
    pub(super) fn new(connection: &Connection<'a>) -> Self {
        let (trust_domain, path) = connection.peer.map_or(("", ""), |id| (id.trust_domain_name(), id.path()));
        Self {
            trust_domain,
            path,
            account: spiffe_service_account(path),
            source: connection.source.to_canonical(),
            destination: SocketAddr::new(connection.destination.ip().to_canonical(), connection.destination.port()),
        }
    }

    fn namespace(&self) -> &'a str {
        self.account.map_or("", |(namespace, _)| namespace)
    }
}

/// Index of the first rule that matches.
pub(super) fn matching_rule(policy: &Policy, facts: &Facts<'_>) -> Option<usize> {
    policy.rules.iter().position(|rule| rule_matches(rule, facts))
}

fn rule_matches(rule: &Rule, facts: &Facts<'_>) -> bool {
    rule.clauses.iter().all(|clause| clause_matches(clause, facts))
}

fn clause_matches(clause: &Clause, facts: &Facts<'_>) -> bool {
    clause.matches.is_empty() || clause.matches.iter().any(|entry| match_matches(entry, facts))
}

fn match_matches(entry: &Match, facts: &Facts<'_>) -> bool {
    if entry.is_empty() {
        return false;
    }
    let namespace = |matcher: &StringMatch| matcher.is_match(facts.namespace());
    let principal = |matcher: &StringMatch| {
        !facts.trust_domain.is_empty() && matcher.is_match_joined(facts.trust_domain, facts.path)
    };
    let account = |wanted: &ServiceAccountMatch| {
        facts.account.is_some_and(|(namespace, name)| wanted.namespace == *namespace && wanted.name == *name)
    };
    let source = |range: &IpNet| range.contains(&facts.source);
    let destination = |range: &IpNet| range.contains(&facts.destination.ip());
    let port = |port: &u16| *port == facts.destination.port();

    field(&entry.namespaces, &entry.not_namespaces, namespace)
        && field(&entry.principals, &entry.not_principals, principal)
        && field(&entry.source_ips, &entry.not_source_ips, source)
        && field(&entry.destination_ips, &entry.not_destination_ips, destination)
        && field(&entry.destination_ports, &entry.not_destination_ports, port)
        && field(&entry.service_accounts, &entry.not_service_accounts, account)
}

/// An empty positive list is no condition; a negative list wants none of its values.
fn field<T>(positive: &[T], negative: &[T], fits: impl Fn(&T) -> bool) -> bool {
    (positive.is_empty() || positive.iter().any(&fits)) && !negative.iter().any(fits)
}
