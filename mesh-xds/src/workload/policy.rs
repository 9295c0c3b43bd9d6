use ipnet::IpNet;
use mesh_core::authz::{Action, Clause, Match, Policy, Rule, Scope, ServiceAccountMatch};
use mesh_core::name::NamespacedName;
use mesh_core::string_match::StringMatch;
use prost::Message;

use super::{Error, ip};
use crate::pb::Empty;
use crate::proto::security as wire;
use crate::proto::security::string_match::MatchType;

/// Reads an `istio.security.Authorization`.
///
/// # Errors
/// [`Error`], naming the field. Nothing is dropped silently: a policy with a part that is not understood is refused
/// whole.
pub fn decode_policy(bytes: &[u8]) -> Result<Policy, Error> {
    let message = wire::Authorization::decode(bytes).map_err(|error| Error::Malformed(error.to_string()))?;
    if message.name.is_empty() || message.name.contains('/') {
        return Err(Error::Missing("name"));
    }
    if message.namespace.is_empty() || message.namespace.contains('/') {
        return Err(Error::Missing("namespace"));
    }
    no_extensions(&message.extensions)?;
    let scope = match wire::Scope::try_from(message.scope) {
        Ok(wire::Scope::Global) => Scope::Global,
        Ok(wire::Scope::Namespace) => Scope::Namespace,
        Ok(wire::Scope::WorkloadSelector) => Scope::WorkloadSelector,
        Err(_) => return Err(Error::Enumeration { field: "scope", value: message.scope }),
    };
    let action = match wire::Action::try_from(message.action) {
        Ok(wire::Action::Allow) => Action::Allow,
        Ok(wire::Action::Deny) => Action::Deny,
        Err(_) => return Err(Error::Enumeration { field: "action", value: message.action }),
    };
    let rules: Result<_, _> = message.rules.iter().map(decode_rule).collect();
    let name = NamespacedName::new(message.namespace, message.name);
    let mut policy = Policy::new(name, scope, action, rules?);
    policy.dry_run = message.dry_run;
    Ok(policy)
}

/// What stands in for a policy that cannot be decoded and of which no earlier version is known: it refuses everything in
/// the scope of the policy, under its name. What was meant to protect must not be open because it is not understood.
///
/// As far as the message can be read its scope is kept; where it cannot, the policy's namespace is closed.
#[must_use]
pub fn refusing_policy(name: &NamespacedName, bytes: &[u8]) -> Policy {
    let message = wire::Authorization::decode(bytes).ok();
    let scope = match message.and_then(|message| wire::Scope::try_from(message.scope).ok()) {
        Some(wire::Scope::Global) => Scope::Global,
        Some(wire::Scope::WorkloadSelector) => Scope::WorkloadSelector,
        _ => Scope::Namespace,
    };
    Policy::new(name.clone(), scope, Action::Deny, vec![Rule::default()])
}

fn decode_rule(rule: &wire::Rule) -> Result<Rule, Error> {
    let clause = |clause: &wire::Clause| {
        let matches: Result<_, _> = clause.matches.iter().map(decode_match).collect();
        matches.map(|matches| Clause { matches })
    };
    let clauses: Result<_, _> = rule.clauses.iter().map(clause).collect();
    Ok(Rule { clauses: clauses? })
}

fn decode_match(entry: &wire::Match) -> Result<Match, Error> {
    no_extensions(&entry.extensions)?;
    Ok(Match {
        namespaces: strings("namespaces", &entry.namespaces)?,
        not_namespaces: strings("not_namespaces", &entry.not_namespaces)?,
        principals: strings("principals", &entry.principals)?,
        not_principals: strings("not_principals", &entry.not_principals)?,
        source_ips: ranges("source_ips", &entry.source_ips)?,
        not_source_ips: ranges("not_source_ips", &entry.not_source_ips)?,
        destination_ips: ranges("destination_ips", &entry.destination_ips)?,
        not_destination_ips: ranges("not_destination_ips", &entry.not_destination_ips)?,
        destination_ports: ports("destination_ports", &entry.destination_ports)?,
        not_destination_ports: ports("not_destination_ports", &entry.not_destination_ports)?,
        service_accounts: accounts(&entry.service_accounts),
        not_service_accounts: accounts(&entry.not_service_accounts),
    })
}

fn no_extensions(extensions: &[wire::Extension]) -> Result<(), Error> {
    match extensions.first() {
        Some(extension) => Err(Error::Extension(extension.name.clone())),
        None => Ok(()),
    }
}

fn strings(field: &'static str, list: &[wire::StringMatch]) -> Result<Vec<StringMatch>, Error> {
    let one = |entry: &wire::StringMatch| {
        Ok(match entry.match_type.as_ref().ok_or(Error::EmptyStringMatch(field))? {
            MatchType::Exact(text) => StringMatch::Exact(text.as_str().into()),
            MatchType::Prefix(text) => StringMatch::Prefix(text.as_str().into()),
            MatchType::Suffix(text) => StringMatch::Suffix(text.as_str().into()),
            MatchType::Presence(_) => StringMatch::Present,
        })
    };
    list.iter().map(one).collect()
}

fn ranges(field: &'static str, list: &[wire::Address]) -> Result<Vec<IpNet>, Error> {
    list.iter().map(|entry| ip::decode_range(field, &entry.address, entry.length)).collect()
}

fn ports(field: &'static str, list: &[u32]) -> Result<Vec<u16>, Error> {
    list.iter().map(|value| u16::try_from(*value).map_err(|_| Error::Port { field, value: *value })).collect()
}

fn accounts(list: &[wire::ServiceAccountMatch]) -> Vec<ServiceAccountMatch> {
    let one = |entry: &wire::ServiceAccountMatch| ServiceAccountMatch {
        namespace: entry.namespace.as_str().into(),
        name: entry.service_account.as_str().into(),
    };
    list.iter().map(one).collect()
}

/// Writes an `istio.security.Authorization`.
#[must_use]
pub fn encode_policy(policy: &Policy) -> Vec<u8> {
    let message = wire::Authorization {
        name: policy.name.name.to_string(),
        namespace: policy.name.namespace.to_string(),
        scope: match policy.scope {
            Scope::Namespace => wire::Scope::Namespace,
            Scope::WorkloadSelector => wire::Scope::WorkloadSelector,
            _ => wire::Scope::Global,
        }
        .into(),
        action: match policy.action {
            Action::Allow => wire::Action::Allow,
            _ => wire::Action::Deny,
        }
        .into(),
        rules: policy.rules.iter().map(encode_rule).collect(),
        dry_run: policy.dry_run,
        extensions: Vec::new(),
    };
    message.encode_to_vec()
}

fn encode_rule(rule: &Rule) -> wire::Rule {
    let clause = |clause: &Clause| wire::Clause { matches: clause.matches.iter().map(encode_match).collect() };
    wire::Rule { clauses: rule.clauses.iter().map(clause).collect() }
}

fn encode_match(entry: &Match) -> wire::Match {
    let strings = |list: &[StringMatch]| list.iter().map(encode_string).collect();
    let ranges = |list: &[IpNet]| {
        let one =
            |range: &IpNet| wire::Address { address: ip::encode(range.addr()), length: u32::from(range.prefix_len()) };
        list.iter().map(one).collect()
    };
    let ports = |list: &[u16]| list.iter().copied().map(u32::from).collect();
    let accounts = |list: &[ServiceAccountMatch]| {
        let one = |entry: &ServiceAccountMatch| wire::ServiceAccountMatch {
            namespace: entry.namespace.to_string(),
            service_account: entry.name.to_string(),
        };
        list.iter().map(one).collect()
    };
    wire::Match {
        namespaces: strings(&entry.namespaces),
        not_namespaces: strings(&entry.not_namespaces),
        principals: strings(&entry.principals),
        not_principals: strings(&entry.not_principals),
        source_ips: ranges(&entry.source_ips),
        not_source_ips: ranges(&entry.not_source_ips),
        destination_ips: ranges(&entry.destination_ips),
        not_destination_ips: ranges(&entry.not_destination_ips),
        destination_ports: ports(&entry.destination_ports),
        not_destination_ports: ports(&entry.not_destination_ports),
        service_accounts: accounts(&entry.service_accounts),
        not_service_accounts: accounts(&entry.not_service_accounts),
        extensions: Vec::new(),
    }
}

fn encode_string(matcher: &StringMatch) -> wire::StringMatch {
    let kind = match matcher {
        StringMatch::Exact(text) => MatchType::Exact(text.to_string()),
        StringMatch::Prefix(text) => MatchType::Prefix(text.to_string()),
        StringMatch::Suffix(text) => MatchType::Suffix(text.to_string()),
        _ => MatchType::Presence(Empty {}),
    };
    wire::StringMatch { match_type: Some(kind) }
}
