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
use super::provider;
use super::token::{authentication, fetched};
use crate::finding::Severity;
use crate::resource::{self, Kind, ObjectId, PolicyTarget, WAYPOINT_CLASS};
use crate::translate::facts::{By, Reader};

/// The policies of one service, or of what is addressed to workloads.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::translate) struct Policies {
    requests: Vec<HttpFilter>,
    connections: Vec<NetworkRbac>,
    /// Where keys are fetched.
    pub(in crate::translate) keys: BTreeSet<KeyCluster>,
}

impl Policies {
    /// Filters of requests, in the order in which they are asked.
    pub(in crate::translate) fn requests(&self) -> Vec<HttpFilter> {
        self.requests.clone()
    }

    /// Filters of connections of which nothing is known but that they are TCP.
    pub(in crate::translate) fn connections(&self) -> Vec<NetworkRbac> {
        self.connections.clone()
    }
}

/// The policies of a service that is bound to a waypoint; of what is addressed to workloads, those of the waypoint.
pub(super) fn of(
    backends: &mut Backends<'_, '_>,
    waypoint: &NamespacedName,
    service: Option<&NamespacedHostname>,
) -> Policies {
    let targeting = targeting(backends.reader, waypoint, service);
    compiled(backends, &targeting.into_iter().cloned().collect())
}

/// The policies of a Gateway where traffic enters the mesh, whose instances have these labels: those that name it, and, as no
/// node proxy stands before it, those of its namespace and of all that select its instances or anybody. What selects one
/// instance counts for all.
pub(in crate::translate) fn of_gateway(
    backends: &mut Backends<'_, '_>,
    gateway: &NamespacedName,
    labels: &[BTreeMap<String, String>],
) -> Policies {
    let reader = backends.reader;
    let target = ObjectId { kind: Kind::Gateway, name: gateway.clone() };
    let mut all: BTreeSet<ObjectId> = reader.index(By::Target(target)).cloned().collect();
    let namespaces = BTreeSet::from([gateway.namespace.as_str(), &reader.place().root_namespace]);
    let selects = |selector: Option<&resource::Selector>| {
        let Some(wanted) = selector.map(|selector| &selector.match_labels) else { return true };
        labels.iter().any(|own| wanted.iter().all(|(key, value)| own.get(key) == Some(value)))
    };
    let counts = |id: &ObjectId| match id.kind {
        Kind::AuthorizationPolicy => reader.policy(&id.name).is_some_and(|policy| {
            let spec = &policy.spec;
            spec.target_ref.is_none() && spec.target_refs.is_empty() && selects(spec.selector.as_ref())
        }),
        _ => reader.tokens(&id.name).is_some_and(|tokens| {
            let spec = &tokens.spec;
            spec.target_ref.is_none() && spec.target_refs.is_empty() && selects(spec.selector.as_ref())
        }),
    };
    all.extend(namespaces.into_iter().flat_map(|namespace| reader.policies_in(namespace)).filter(counts));
    compiled(backends, &all)
}

/// Policies in the order of their names, compiled.
fn compiled(backends: &mut Backends<'_, '_>, targeting: &BTreeSet<ObjectId>) -> Policies {
    let reader = backends.reader;
    let of_kind = |kind: Kind| targeting.iter().filter(move |id| id.kind == kind);
    let authorization = of_kind(Kind::AuthorizationPolicy);
    let policies: Vec<AuthorizationPolicy> =
        authorization.filter_map(|id| policy(&id.name, reader.policy(&id.name)?)).collect();
    let tokens: Vec<RequestAuthentication> = of_kind(Kind::RequestAuthentication)
        .filter_map(|id| Some(authentication(&id.name, reader.tokens(&id.name)?)))
        .collect();
    let tokens = Authentication::of_policies(tokens.iter(), false);
    let mut made = Policies::default();
    let named = policies.iter().filter_map(|policy| match &policy.action {
        PolicyAction::Custom(name) => Some(name),
        _ => None,
    });
    // What would be put to one that is not there is denied.
    let asked: BTreeMap<Text, ExternalAuthz> =
        named.filter_map(|name| Some((name.clone(), provider::asked(name.as_str(), backends)?))).collect();
    let trust_domain = Text::from(reader.place().trust_domain.to_string());
    let mesh = Mesh { trust_domains: vec![trust_domain], authorizers: asked.keys().cloned().collect() };
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

/// The policies for a waypoint, for all waypoints and for a service, in the order of their names.
fn targeting<'a>(
    reader: &Reader<'a>,
    waypoint: &NamespacedName,
    service: Option<&NamespacedHostname>,
) -> BTreeSet<&'a ObjectId> {
    let gateway = ObjectId { kind: Kind::Gateway, name: waypoint.clone() };
    let class = ObjectId { kind: Kind::GatewayClass, name: NamespacedName::new("", WAYPOINT_CLASS) };
    let declaring = service.into_iter().flat_map(|key| reader.declaring(key).cloned());
    let targets = [gateway, class].into_iter().chain(declaring);
    targets.flat_map(|target| reader.index(By::Target(target))).collect()
}

fn rbac(name: &str, filter: RbacFilter) -> HttpFilter {
    HttpFilter { name: name.into(), kind: HttpFilterKind::Rbac(filter), disabled: false }
}

/// A policy in the terms of the model; `None` for an action that is none.
pub(crate) fn policy(key: &NamespacedName, source: &resource::AuthorizationPolicy) -> Option<AuthorizationPolicy> {
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

fn rule(rule: &resource::AuthorizationRule) -> Rule {
    let resource::AuthorizationRule { from, to, when } = rule;
    Rule {
        from: from.iter().flatten().map(|from| from_source(&from.source)).collect(),
        to: to.iter().flatten().map(|to| operation(&to.operation)).collect(),
        when: when.iter().flatten().map(condition).collect(),
    }
}

fn from_source(source: &resource::SourceMatch) -> Source {
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

fn operation(operation: &resource::Operation) -> Operation {
    Operation {
        hosts: values(&operation.hosts, &operation.not_hosts),
        ports: values(&operation.ports, &operation.not_ports),
        methods: values(&operation.methods, &operation.not_methods),
        paths: values(&operation.paths, &operation.not_paths),
    }
}

fn condition(when: &resource::When) -> Condition {
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
pub(crate) fn faults(key: &NamespacedName, source: &resource::AuthorizationPolicy) -> Vec<(Severity, String)> {
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
