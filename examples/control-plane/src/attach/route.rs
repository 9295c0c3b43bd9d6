//! A route, whatever its kind.

use std::fmt;
use std::time::Duration;

use mesh_core::name::Hostname;

use super::backend::resolve;
use super::{Backend, BackendFault, BackendUse, Read, Referrer};
use crate::resource::{
    BackendRef, GrpcRule, HttpRule, Kind, Metadata, ObjectId, ParentRef, RouteFilter, StreamRouteRule,
};

/// A route, as far as all kinds agree.
#[derive(Debug, Clone)]
pub struct Route<'a> {
    /// Which it is.
    pub id: ObjectId,
    /// Its metadata.
    pub metadata: &'a Metadata,
    /// What it attaches to.
    pub parents: &'a [ParentRef],
    /// The hosts it is for.
    pub hostnames: Vec<Hostname>,
    rules: Rules<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Rules<'a> {
    Http(&'a [HttpRule]),
    Grpc(&'a [GrpcRule]),
    Stream(&'a [StreamRouteRule]),
}

/// Why a route is not accepted by a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The parent has no such section or port.
    NoMatchingParent(String),
    /// No listener admits routes of this kind or namespace.
    NotAllowed(String),
    /// No listener that admits it is for any of its hosts.
    NoMatchingHostname,
    /// Another route has the hosts, or the port, already.
    Conflicted(String),
    /// None of its rules can be served.
    Rules(RuleFault),
}

/// What is wrong with a rule by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleFault {
    /// Something in it is not supported.
    Unsupported(String),
    /// It has filters that exclude each other.
    Incompatible(String),
}

/// What is wrong with the rules of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleFaults {
    /// The faults, by rule, counted from 0. A rule in fault answers all its requests with an error.
    pub faults: Vec<(usize, RuleFault)>,
    /// Whether no rule is left.
    pub is_whole: bool,
}

impl<'a> Route<'a> {
    /// A route; `None` if it is not there, or of no kind of routes that are served.
    #[must_use]
    pub fn find(read: &'a impl Read, id: &ObjectId) -> Option<Self> {
        let (metadata, parents, hostnames, rules): (_, &[ParentRef], &[String], _) = match id.kind {
            Kind::HttpRoute => {
                let route = read.http_route(&id.name)?;
                let rules = Rules::Http(route.spec.rules.as_deref().unwrap_or_default());
                (&route.metadata, &route.spec.parent_refs, &route.spec.hostnames, rules)
            }
            Kind::GrpcRoute => {
                let route = read.grpc_route(&id.name)?;
                let rules = Rules::Grpc(route.spec.rules.as_deref().unwrap_or_default());
                (&route.metadata, &route.spec.parent_refs, &route.spec.hostnames, rules)
            }
            Kind::TlsRoute => {
                let route = read.tls_route(&id.name)?;
                let rules = Rules::Stream(&route.spec.rules);
                (&route.metadata, &route.spec.parent_refs, &route.spec.hostnames, rules)
            }
            Kind::TcpRoute => {
                let route = read.tcp_route(&id.name)?;
                (&route.metadata, &route.spec.parent_refs, &[], Rules::Stream(&route.spec.rules))
            }
            _ => return None,
        };
        let hostnames = hostnames.iter().filter_map(|name| Hostname::parse(name).ok()).collect();
        Some(Self { id: id.clone(), metadata, parents, hostnames, rules })
    }

    /// By what the one of two routes is found that counts: the older, then by namespace and name.
    #[must_use]
    pub fn rank(&self) -> (Duration, ObjectRank<'_>) {
        (self.metadata.created(), (&self.metadata.namespace, &self.metadata.name, self.id.kind))
    }

    /// What its backends come to, by rule, counted from 0. Only at Gateways does one in another namespace need a grant.
    #[must_use]
    pub fn backends(
        &self,
        read: &impl Read,
        needs_grant: bool,
    ) -> Vec<(usize, BackendUse, Result<Backend, BackendFault>)> {
        let from = Referrer { kind: self.id.kind, namespace: self.metadata.namespace.as_str() };
        let references = self.references().into_iter();
        references.map(|(rule, used, one)| (rule, used, resolve(read, from, one, needs_grant))).collect()
    }

    /// All references to backends, by rule.
    fn references(&self) -> Vec<(usize, BackendUse, &'a BackendRef)> {
        fn mirrors(filters: &[RouteFilter]) -> impl Iterator<Item = &BackendRef> {
            filters.iter().filter_map(|filter| filter.request_mirror.as_ref()).map(|mirror| &mirror.backend_ref)
        }
        let mut found = Vec::new();
        let mut add = |rule: usize, filters: &'a [RouteFilter], backends: &'a [BackendRef]| {
            found.extend(backends.iter().map(|one| (rule, BackendUse::Traffic, one)));
            let of_backends = backends.iter().flat_map(|one| mirrors(&one.filters));
            found.extend(mirrors(filters).chain(of_backends).map(|one| (rule, BackendUse::Mirror, one)));
        };
        match self.rules {
            Rules::Http(rules) => {
                rules.iter().enumerate().for_each(|(at, rule)| add(at, &rule.filters, &rule.backend_refs));
            }
            Rules::Grpc(rules) => {
                rules.iter().enumerate().for_each(|(at, rule)| add(at, &rule.filters, &rule.backend_refs));
            }
            Rules::Stream(rules) => {
                rules.iter().enumerate().for_each(|(at, rule)| add(at, &[], &rule.backend_refs));
            }
        }
        found
    }

    /// What is wrong with its rules by themselves.
    #[must_use]
    pub fn rule_faults(&self) -> RuleFaults {
        let (faults, count): (Vec<_>, _) = match self.rules {
            Rules::Http(rules) => {
                let faults = rules.iter().enumerate();
                (
                    faults.filter_map(|(at, rule)| Some((at, fault(&rule.filters, &rule.backend_refs)?))).collect(),
                    rules.len(),
                )
            }
            Rules::Grpc(rules) => {
                let faults = rules.iter().enumerate();
                (
                    faults.filter_map(|(at, rule)| Some((at, fault(&rule.filters, &rule.backend_refs)?))).collect(),
                    rules.len(),
                )
            }
            Rules::Stream(rules) => (Vec::new(), rules.len()),
        };
        let is_whole = count > 0 && faults.len() == count;
        RuleFaults { faults, is_whole }
    }
}

/// Namespace, name and kind, in the order in which they count.
pub(super) type ObjectRank<'a> = (&'a str, &'a str, Kind);

fn fault(filters: &[RouteFilter], backends: &[BackendRef]) -> Option<RuleFault> {
    let all = || filters.iter().chain(backends.iter().flat_map(|one| &one.filters));
    let foreign = ["ExtensionRef", "ExternalAuth"];
    if let Some(filter) = all().find(|filter| foreign.contains(&filter.r#type.as_str())) {
        return Some(RuleFault::Unsupported(format!("filter {} is not supported", filter.r#type)));
    }
    let has = |list: &[RouteFilter], kind: &str| list.iter().any(|filter| filter.r#type == kind);
    for own in std::iter::once(&[][..]).chain(backends.iter().map(|one| one.filters.as_slice())) {
        let has = |kind: &str| has(filters, kind) || has(own, kind);
        if has("RequestRedirect") && has("URLRewrite") {
            return Some(RuleFault::Incompatible("RequestRedirect and URLRewrite exclude each other".to_owned()));
        }
    }
    None
}

impl RuleFaults {
    /// Why the route cannot be accepted at all.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        // Filters that exclude each other make a route that nobody can have meant.
        let incompatible = self.faults.iter().find(|(_, fault)| matches!(fault, RuleFault::Incompatible(_)));
        let whole = self.faults.first().filter(|_| self.is_whole);
        incompatible.or(whole).map(|(_, fault)| Refusal::Rules(fault.clone()))
    }
}

impl Refusal {
    /// The reason, as conditions have it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoMatchingParent(_) => "NoMatchingParent",
            Self::NotAllowed(_) => "NotAllowedByListeners",
            Self::NoMatchingHostname => "NoMatchingListenerHostname",
            Self::Conflicted(_) => "Conflicted",
            Self::Rules(RuleFault::Unsupported(_)) => "UnsupportedValue",
            Self::Rules(RuleFault::Incompatible(_)) => "IncompatibleFilters",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMatchingParent(text) | Self::NotAllowed(text) | Self::Conflicted(text) => f.write_str(text),
            Self::NoMatchingHostname => f.write_str("no listener is for any of its hosts"),
            Self::Rules(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(text) | Self::Incompatible(text) => f.write_str(text),
        }
    }
}
