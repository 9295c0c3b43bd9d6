//! What policies say of the traffic of a service.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::authn::{Authentication, RequestAuthentication};
use mesh_core::authz::http::{
    AuthorizationPolicy, Compiled, Condition, Custom, Mesh, Operation, PolicyAction, Rule, Source, Values, compile,
};
use mesh_core::authz::rbac::RbacFilter;
use mesh_core::companion::ext_authz::ExternalAuthz;
use mesh_core::listener::{HttpFilter, HttpFilterKind, NetworkRbac};
use mesh_core::name::{NamespacedHostname, NamespacedName, Text};

use super::attached::Backends;
use super::keys::KeyCluster;
use super::provider::Providers;
use super::token::{authentication, fetched};
use crate::admission::check::WAYPOINT_CLASS;
use crate::admission::schema::{self, Metadata, PolicyTarget};
use crate::finding::Severity;
use crate::translate::{Place, service};
use crate::world::World;

/// The policies of one service, or of what is addressed to workloads.
#[derive(Debug, Clone, Default)]
pub(super) struct Policies {
    requests: Vec<HttpFilter>,
    connections: Vec<NetworkRbac>,
    /// Where keys are fetched.
    pub(super) keys: BTreeSet<KeyCluster>,
}

impl Policies {
    /// Filters of requests, in the order in which they are asked.
    pub(super) fn requests(&self) -> Vec<HttpFilter> {
        self.requests.clone()
    }

    /// Filters of connections of which nothing is known but that they are TCP.
    pub(super) fn connections(&self) -> Vec<NetworkRbac> {
        self.connections.clone()
    }
}

/// All policies that are for waypoints, or for what they serve.
pub(super) struct Targeted<'a> {
    authorization: Vec<(Vec<Target>, AuthorizationPolicy)>,
    authentication: Vec<(Vec<Target>, RequestAuthentication)>,
    trust_domains: Vec<Text>,
    providers: Providers<'a>,
}

/// What a policy is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Service(NamespacedHostname),
    Gateway(NamespacedName),
    /// All waypoints.
    Class,
}

impl<'a> Targeted<'a> {
    pub(super) fn new(world: &'a World, place: &Place) -> Self {
        let authorization = world.policies.iter().filter_map(|(key, (_, source))| {
            let refs = refs(source.spec.target_ref.as_ref(), &source.spec.target_refs);
            let targets = targets(world, place, &source.metadata, refs);
            (!targets.is_empty()).then(|| Some((targets, policy(key, source)?))).flatten()
        });
        let authentication = world.tokens.iter().filter_map(|(key, (_, source))| {
            let refs = refs(source.spec.target_ref.as_ref(), &source.spec.target_refs);
            let targets = targets(world, place, &source.metadata, refs);
            (!targets.is_empty()).then(|| (targets, authentication(key, source)))
        });
        Self {
            authorization: authorization.collect(),
            authentication: authentication.collect(),
            trust_domains: vec![Text::from(place.trust_domain.to_string())],
            providers: Providers::new(world, place),
        }
    }

    /// The policies of a service that is bound to a waypoint; of what is addressed to workloads, those of the waypoint.
    pub(super) fn of(&self, backends: &mut Backends<'a, '_>, service: Option<&NamespacedHostname>) -> Policies {
        let waypoint = backends.maker.gateway;
        let applies = |target: &Target| match target {
            Target::Service(key) => service == Some(key),
            Target::Gateway(key) => key == waypoint,
            Target::Class => true,
        };
        let of_service = self.authorization.iter().filter(|(targets, _)| targets.iter().any(applies));
        let policies: Vec<AuthorizationPolicy> = of_service.map(|(_, policy)| policy.clone()).collect();
        let of_service = self.authentication.iter().filter(|(targets, _)| targets.iter().any(applies));
        let tokens = Authentication::of_policies(of_service.map(|(_, policy)| policy), false);
        let mut made = Policies::default();
        let named = policies.iter().filter_map(|policy| match &policy.action {
            PolicyAction::Custom(name) => Some(name),
            _ => None,
        });
        // What would be put to one that is not there is denied.
        let asked: BTreeMap<Text, ExternalAuthz> =
            named.filter_map(|name| Some((name.clone(), self.providers.asked(name.as_str(), backends)?))).collect();
        let mesh = Mesh { trust_domains: self.trust_domains.clone(), authorizers: asked.keys().cloned().collect() };
        let on_requests = compile(&policies, &mesh);
        for Custom { authorizer, filter, asked: which } in &on_requests.custom {
            made.requests.push(rbac(&format!("rbac-custom-{authorizer}"), filter.clone()));
            if let Some(settings) = asked.get(authorizer) {
                let settings = ExternalAuthz { enabled_metadata: which.clone(), ..settings.clone() };
                made.requests.push(HttpFilter {
                    name: format!("ext-authz-{authorizer}").into(),
                    kind: HttpFilterKind::ExternalAuthz(Box::new(settings)),
                    disabled: false,
                });
            }
        }
        if let Some(mut tokens) = tokens {
            made.keys = fetched(&mut tokens);
            let kind = HttpFilterKind::Authn(Box::new(tokens));
            made.requests.push(HttpFilter { name: "envoy.filters.http.jwt_authn".into(), kind, disabled: false });
        }
        let Compiled { audit, deny, allow, .. } = on_requests;
        let named = [("rbac-audit", audit), ("rbac-deny", deny), ("rbac-allow", allow)];
        made.requests.extend(named.into_iter().filter_map(|(name, filter)| Some(rbac(name, filter?))));

        let on_connections: Vec<AuthorizationPolicy> = policies.iter().map(on_connections).collect();
        // Nobody can be asked about a connection: what would be put to an authorizer is denied.
        let nobody = Mesh { authorizers: BTreeSet::new(), ..mesh };
        let compiled = compile(&on_connections, &nobody);
        made.connections =
            compiled.filters().map(|filter| NetworkRbac { filter: filter.clone(), ..NetworkRbac::default() }).collect();
        made
    }
}

fn rbac(name: &str, filter: RbacFilter) -> HttpFilter {
    HttpFilter { name: name.into(), kind: HttpFilterKind::Rbac(filter), disabled: false }
}

fn refs<'a>(one: Option<&'a PolicyTarget>, several: &'a [PolicyTarget]) -> impl Iterator<Item = &'a PolicyTarget> {
    one.into_iter().chain(several)
}

fn targets<'a>(
    world: &World,
    place: &Place,
    metadata: &Metadata,
    refs: impl Iterator<Item = &'a PolicyTarget>,
) -> Vec<Target> {
    let of = |target: &PolicyTarget| -> Vec<Target> {
        let key = NamespacedName::new(metadata.namespace.as_str(), target.name.as_str());
        match (target.group.as_str(), target.kind.as_str()) {
            ("" | "core", "Service") => {
                let service = world.services.get(&key).and_then(|(_, source)| service::key(source, place));
                service.map(Target::Service).into_iter().collect()
            }
            ("networking.istio.io", "ServiceEntry") => {
                let entry = world.service_entries.get(&key).map(|(_, entry)| entry);
                entry.into_iter().flat_map(service::entry_keys).map(Target::Service).collect()
            }
            ("gateway.networking.k8s.io", "Gateway") => vec![Target::Gateway(key)],
            ("gateway.networking.k8s.io", "GatewayClass")
                if target.name == WAYPOINT_CLASS && metadata.namespace == place.root_namespace =>
            {
                vec![Target::Class]
            }
            _ => Vec::new(),
        }
    };
    refs.flat_map(of).collect()
}

/// A policy in the terms of the model; `None` for an action that is none.
pub(crate) fn policy(key: &NamespacedName, source: &schema::AuthorizationPolicy) -> Option<AuthorizationPolicy> {
    let spec = &source.spec;
    let action = match spec.action.as_deref().unwrap_or("ALLOW") {
        "ALLOW" => PolicyAction::Allow,
        "DENY" => PolicyAction::Deny,
        "AUDIT" => PolicyAction::Audit,
        "CUSTOM" => PolicyAction::Custom(spec.provider.as_ref()?.name.as_str().into()),
        _ => return None,
    };
    let mut made = AuthorizationPolicy::new(key.clone(), action, spec.rules.iter().map(rule).collect());
    made.dry_run = source.metadata.annotations.get("istio.io/dry-run").is_some_and(|value| value == "true");
    Some(made)
}

fn rule(rule: &schema::AuthorizationRule) -> Rule {
    let schema::AuthorizationRule { from, to, when } = rule;
    Rule {
        from: from.iter().flatten().map(|from| from_source(&from.source)).collect(),
        to: to.iter().flatten().map(|to| operation(&to.operation)).collect(),
        when: when.iter().flatten().map(condition).collect(),
    }
}

fn from_source(source: &schema::SourceMatch) -> Source {
    Source {
        principals: values(&source.principals, &source.not_principals),
        request_principals: values(&source.request_principals, &source.not_request_principals),
        namespaces: values(&source.namespaces, &source.not_namespaces),
        service_accounts: values(&source.service_accounts, &source.not_service_accounts),
        trust_domains: values(&source.trust_domains, &source.not_trust_domains),
        ip_blocks: values(&source.ip_blocks, &source.not_ip_blocks),
        remote_ip_blocks: values(&source.remote_ip_blocks, &source.not_remote_ip_blocks),
    }
}

fn operation(operation: &schema::Operation) -> Operation {
    Operation {
        hosts: values(&operation.hosts, &operation.not_hosts),
        ports: values(&operation.ports, &operation.not_ports),
        methods: values(&operation.methods, &operation.not_methods),
        paths: values(&operation.paths, &operation.not_paths),
    }
}

fn condition(when: &schema::When) -> Condition {
    Condition { key: when.key.as_str().into(), values: values(&when.values, &when.not_values) }
}

fn values(any_of: &[String], none_of: &[String]) -> Values {
    let texts = |list: &[String]| list.iter().map(|text| Text::from(text.as_str())).collect();
    Values { any_of: texts(any_of), none_of: texts(none_of) }
}

/// What is left of a policy where there are connections only, of which nobody knows a request. As Istio has it: a rule that
/// allows by something of a request allows nothing, one that does anything else does it whatever the request is.
fn on_connections(policy: &AuthorizationPolicy) -> AuthorizationPolicy {
    let mut policy = policy.clone();
    if policy.action == PolicyAction::Allow {
        policy.rules.retain(|rule| !is_about_requests(rule));
    }
    for rule in &mut policy.rules {
        for source in &mut rule.from {
            source.request_principals = Values::default();
        }
        for Operation { hosts, methods, paths, ports: _ } in &mut rule.to {
            (*hosts, *methods, *paths) = Default::default();
        }
        rule.when.retain(|condition| !is_of_request(condition));
    }
    policy
}

fn is_about_requests(rule: &Rule) -> bool {
    let operation = |operation: &Operation| {
        let Operation { hosts, methods, paths, ports: _ } = operation;
        [hosts, methods, paths].iter().any(|values| !values.is_empty())
    };
    rule.from.iter().any(|source| !source.request_principals.is_empty())
        || rule.to.iter().any(operation)
        || rule.when.iter().any(is_of_request)
}

fn is_of_request(condition: &Condition) -> bool {
    ["request.", "experimental."].iter().any(|prefix| condition.key.as_str().starts_with(prefix))
}

/// What is wrong with a policy that is for waypoints.
pub(crate) fn faults(key: &NamespacedName, source: &schema::AuthorizationPolicy) -> Vec<(Severity, String)> {
    let spec = &source.spec;
    let mut faults = target_faults(spec.target_ref.as_ref(), &spec.target_refs, spec.selector.is_some());
    let mut error = |message: String| faults.push((Severity::Error, message));
    let action = spec.action.as_deref().unwrap_or("ALLOW");
    if !["ALLOW", "DENY", "AUDIT", "CUSTOM"].contains(&action) {
        error(format!("spec.action: `{action}` is none of ALLOW, DENY, AUDIT, CUSTOM"));
    }
    if (action == "CUSTOM") != spec.provider.is_some() {
        error("spec.provider: CUSTOM has one, and nothing else has".to_owned());
    }
    if spec.rules.is_empty() && action != "ALLOW" {
        error("spec.rules: without any, the policy does nothing".to_owned());
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        let lists = [
            ("from", rule.from.as_ref().map(Vec::len)),
            ("to", rule.to.as_ref().map(Vec::len)),
            ("when", rule.when.as_ref().map(Vec::len)),
        ];
        for (field, _) in lists.iter().filter(|(_, length)| *length == Some(0)) {
            error(format!("spec.rules[{index}].{field}: an empty list; leave the field out to match everything"));
        }
        for (at, _) in rule.from.iter().flatten().enumerate().filter(|(_, from)| from.source == Default::default()) {
            error(format!("spec.rules[{index}].from[{at}].source: says nothing"));
        }
        for (at, _) in rule.to.iter().flatten().enumerate().filter(|(_, to)| to.operation == Default::default()) {
            error(format!("spec.rules[{index}].to[{at}].operation: says nothing"));
        }
    }
    let authorizers = spec.provider.iter().map(|provider| Text::from(provider.name.as_str()));
    let mesh = Mesh { trust_domains: vec!["cluster.local".into()], authorizers: authorizers.collect() };
    let compiled = policy(key, source).map(|policy| compile(&[policy], &mesh)).unwrap_or_default();
    faults.extend(
        compiled
            .problems
            .iter()
            .map(|problem| (Severity::Error, format!("spec.{}: {}", problem.field, problem.reason))),
    );
    faults
}

pub(super) fn target_faults(
    one: Option<&PolicyTarget>,
    several: &[PolicyTarget],
    selects: bool,
) -> Vec<(Severity, String)> {
    let mut faults = Vec::new();
    let mut error = |message: String| faults.push((Severity::Error, message));
    if one.is_some() && !several.is_empty() {
        error("spec.targetRef: there is `targetRefs` too".to_owned());
    }
    if selects && (one.is_some() || !several.is_empty()) {
        error("spec.selector: there is `targetRefs` too".to_owned());
    }
    if several.len() > 16 {
        error(format!("spec.targetRefs: {} entries; there may be 16", several.len()));
    }
    let named = several.iter().enumerate().map(|(index, target)| (format!("spec.targetRefs[{index}]"), target));
    for (at, target) in one.map(|target| ("spec.targetRef".to_owned(), target)).into_iter().chain(named) {
        let known = match (target.group.as_str(), target.kind.as_str()) {
            ("" | "core", "Service") | ("networking.istio.io", "ServiceEntry") => true,
            ("gateway.networking.k8s.io", "Gateway") => true,
            ("gateway.networking.k8s.io", "GatewayClass") => target.name == WAYPOINT_CLASS,
            _ => false,
        };
        if !known {
            let PolicyTarget { group, kind, name, .. } = target;
            error(format!(
                "{at}: `{group}/{kind}` `{name}` is nothing that a policy may be for; it would not be enforced"
            ));
        }
        if target.namespace.is_some() {
            error(format!("{at}.namespace: a policy is for what is in its own namespace"));
        }
    }
    faults
}
