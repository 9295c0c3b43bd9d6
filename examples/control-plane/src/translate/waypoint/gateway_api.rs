//! Routes of the Gateway API, from how they are written to how they are compiled. What the schema lets pass and the checks
//! refuse never comes here.

use std::time::Duration;

use http::{HeaderName, Method};
use mesh_core::gateway::{
    self, BackendRef, Extension, Filter, GrpcMatch, GrpcMethod, GrpcRoute, GrpcRule, HeaderCondition, HeaderModifier,
    HttpMatch, HttpPath, HttpRoute, HttpRule, PathModifier, Persistence, QueryCondition, RequestMirror,
    RequestRedirect, Retry, RouteId, RuleTimeouts, UrlRewrite, ValueMatch,
};
use mesh_core::name::{Hostname, Text};
use mesh_core::route::{Denominator, Fraction, RedirectStatus};
use mesh_core::string_match::Regex;

use super::attached::Backends;
use crate::resource;
use crate::resource::text::gep_duration;

pub(in crate::translate) fn http_route(route: &resource::HttpRoute, backends: &mut Backends<'_, '_>) -> HttpRoute {
    let namespace = route.metadata.namespace.as_str();
    let mut made = HttpRoute::new(id(&route.metadata));
    let rules = route.spec.rules.as_deref().unwrap_or_default();
    made.rules = rules.iter().map(|rule| http_rule(rule, namespace, backends)).collect();
    made
}

pub(in crate::translate) fn grpc_route(route: &resource::GrpcRoute, backends: &mut Backends<'_, '_>) -> GrpcRoute {
    let namespace = route.metadata.namespace.as_str();
    let mut made = GrpcRoute::new(id(&route.metadata));
    let rules = route.spec.rules.as_deref().unwrap_or_default();
    made.rules = rules.iter().map(|rule| grpc_rule(rule, namespace, backends)).collect();
    made
}

fn id(metadata: &resource::Metadata) -> RouteId {
    RouteId { created: metadata.created(), ..RouteId::new(&metadata.namespace, &metadata.name) }
}

fn http_rule(rule: &resource::HttpRule, namespace: &str, to: &mut Backends<'_, '_>) -> HttpRule {
    HttpRule {
        name: rule.name.as_deref().map(Text::from),
        matches: rule.matches.iter().filter_map(http_match).collect(),
        filters: filters(&rule.filters, namespace, to),
        backends: backends(&rule.backend_refs, namespace, to),
        timeouts: RuleTimeouts {
            request: time(rule.timeouts.request.as_deref()),
            backend_request: time(rule.timeouts.backend_request.as_deref()),
        },
        retry: rule.retry.as_ref().map(|retry| Retry {
            codes: retry.codes.clone(),
            attempts: retry.attempts,
            back_off: time(retry.backoff.as_deref()),
        }),
        session: rule.session_persistence.as_ref().and_then(session),
    }
}

fn grpc_rule(rule: &resource::GrpcRule, namespace: &str, to: &mut Backends<'_, '_>) -> GrpcRule {
    GrpcRule {
        name: rule.name.as_deref().map(Text::from),
        matches: rule.matches.iter().filter_map(grpc_match).collect(),
        filters: filters(&rule.filters, namespace, to),
        backends: backends(&rule.backend_refs, namespace, to),
        session: rule.session_persistence.as_ref().and_then(session),
        ..GrpcRule::default()
    }
}

fn http_match(one: &resource::HttpMatch) -> Option<HttpMatch> {
    let path = match &one.path {
        None => HttpPath::default(),
        Some(path) => {
            let value = path.value.as_deref().unwrap_or("/");
            match path.r#type.as_deref() {
                Some("Exact") => HttpPath::Exact(value.into()),
                Some("RegularExpression") => HttpPath::Regex(Regex::new(value).ok()?),
                _ => HttpPath::Prefix(value.into()),
            }
        }
    };
    let query =
        |one: &resource::NamedMatch| Some(QueryCondition { name: one.name.as_str().into(), value: value(one)? });
    Some(HttpMatch {
        path,
        headers: headers(&one.headers)?,
        query: one.query_params.iter().map(query).collect::<Option<_>>()?,
        method: one.method.as_deref().map(|method| Method::from_bytes(method.as_bytes())).transpose().ok()?,
    })
}

fn grpc_match(one: &resource::GrpcMatch) -> Option<GrpcMatch> {
    let method = match &one.method {
        None => None,
        Some(resource::GrpcMethod { r#type, service, method }) => {
            let some = |part: &'_ Option<String>| part.clone().filter(|part| !part.is_empty());
            Some(match (r#type.as_deref(), some(service), some(method)) {
                (Some("RegularExpression"), service, method) => {
                    GrpcMethod::regex(service.as_deref(), method.as_deref()).ok()?
                }
                (_, Some(service), Some(method)) => {
                    GrpcMethod::Exact { service: service.into(), method: method.into() }
                }
                (_, Some(service), None) => GrpcMethod::Service(service.into()),
                (_, None, Some(method)) => GrpcMethod::Method(method.into()),
                (_, None, None) => return None,
            })
        }
    };
    Some(GrpcMatch { method, headers: headers(&one.headers)? })
}

fn headers(list: &[resource::NamedMatch]) -> Option<Vec<HeaderCondition>> {
    let one = |one: &resource::NamedMatch| {
        Some(HeaderCondition { name: HeaderName::from_bytes(one.name.as_bytes()).ok()?, value: value(one)? })
    };
    list.iter().map(one).collect()
}

fn value(one: &resource::NamedMatch) -> Option<ValueMatch> {
    Some(match one.r#type.as_deref() {
        Some("RegularExpression") => ValueMatch::Regex(Regex::new(&one.value).ok()?),
        _ => ValueMatch::Exact(one.value.as_str().into()),
    })
}

fn backends(list: &[resource::BackendRef], namespace: &str, to: &mut Backends<'_, '_>) -> Vec<BackendRef> {
    let mut one = |one: &resource::BackendRef| BackendRef {
        backend: to.resolve(namespace, one),
        weight: one.weight.unwrap_or(1),
        filters: filters(&one.filters, namespace, to),
    };
    list.iter().map(&mut one).collect()
}

fn filters(list: &[resource::RouteFilter], namespace: &str, to: &mut Backends<'_, '_>) -> Vec<Filter> {
    // What is not understood must not be passed over.
    list.iter().map(|one| filter(one, namespace, to).unwrap_or(Filter::Extension(Extension::Unresolved))).collect()
}

fn filter(filter: &resource::RouteFilter, namespace: &str, to: &mut Backends<'_, '_>) -> Option<Filter> {
    Some(match filter.r#type.as_str() {
        "RequestHeaderModifier" => Filter::RequestHeaders(modifier(filter.request_header_modifier.as_ref()?)?),
        "ResponseHeaderModifier" => Filter::ResponseHeaders(modifier(filter.response_header_modifier.as_ref()?)?),
        "RequestRedirect" => Filter::Redirect(redirect(filter.request_redirect.as_ref()?)?),
        "URLRewrite" => {
            let resource::UrlRewrite { hostname, path } = filter.url_rewrite.as_ref()?;
            Filter::Rewrite(UrlRewrite { hostname: host(hostname.as_deref())?, path: path_modifier(path.as_ref())? })
        }
        "RequestMirror" => {
            let resource::RequestMirror { backend_ref, percent, fraction } = filter.request_mirror.as_ref()?;
            let percent = percent.map(Fraction::percent);
            let backend = to.resolve(namespace, backend_ref);
            Filter::Mirror(RequestMirror { backend, fraction: percent.or_else(|| fraction.map(share)) })
        }
        "CORS" => {
            let cors = filter.cors.as_ref()?;
            let texts = |list: &[String]| list.iter().map(|text| Text::from(text.as_str())).collect();
            Filter::Cors(gateway::Cors {
                origins: texts(&cors.allow_origins),
                methods: texts(&cors.allow_methods),
                headers: texts(&cors.allow_headers),
                expose: texts(&cors.expose_headers),
                credentials: cors.allow_credentials,
                max_age: cors.max_age.map(|seconds| Duration::from_secs(seconds.into())),
            })
        }
        _ => return None,
    })
}

/// A share in millionths, as exact as can be.
fn share(fraction: resource::MirrorFraction) -> Fraction {
    let resource::MirrorFraction { numerator, denominator } = fraction;
    let millionths = u64::from(numerator) * 1_000_000 / u64::from(denominator.max(1));
    Fraction { numerator: u32::try_from(millionths).unwrap_or(1_000_000), denominator: Denominator::Million }
}

fn modifier(modifier: &resource::HeaderModifier) -> Option<HeaderModifier> {
    let name = |name: &String| HeaderName::from_bytes(name.as_bytes()).ok();
    let pair = |header: &resource::HeaderValue| Some((name(&header.name)?, header.value.as_str().into()));
    Some(HeaderModifier {
        set: modifier.set.iter().map(pair).collect::<Option<_>>()?,
        add: modifier.add.iter().map(pair).collect::<Option<_>>()?,
        remove: modifier.remove.iter().map(name).collect::<Option<_>>()?,
    })
}

fn redirect(redirect: &resource::RequestRedirect) -> Option<RequestRedirect> {
    let resource::RequestRedirect { scheme, hostname, path, port, status_code } = redirect;
    Some(RequestRedirect {
        scheme: scheme.as_deref().map(Text::from),
        hostname: host(hostname.as_deref())?,
        path: path_modifier(path.as_ref())?,
        port: *port,
        status: match status_code {
            Some(301) => RedirectStatus::MovedPermanently,
            Some(303) => RedirectStatus::SeeOther,
            Some(307) => RedirectStatus::TemporaryRedirect,
            Some(308) => RedirectStatus::PermanentRedirect,
            _ => RedirectStatus::Found,
        },
    })
}

/// A host that may be absent; `None` for one that is none.
fn host(name: Option<&str>) -> Option<Option<Hostname>> {
    name.map(Hostname::parse).transpose().ok()
}

/// A change of the path that may be absent; `None` for one that is none.
fn path_modifier(path: Option<&resource::PathModifier>) -> Option<Option<PathModifier>> {
    let Some(resource::PathModifier { r#type, replace_full_path, replace_prefix_match }) = path else {
        return Some(None);
    };
    Some(Some(match r#type.as_str() {
        "ReplacePrefixMatch" => PathModifier::Prefix(replace_prefix_match.as_deref()?.into()),
        _ => PathModifier::Full(replace_full_path.as_deref()?.into()),
    }))
}

fn session(session: &resource::SessionPersistence) -> Option<Persistence> {
    let named = session.session_name.as_deref();
    if session.r#type.as_deref() == Some("Header") {
        let name = session.header.as_ref().map(|header| header.name.as_str()).or(named)?;
        return Some(Persistence::Header(HeaderName::from_bytes(name.as_bytes()).ok()?));
    }
    let cookie = session.cookie.as_ref();
    let name = cookie.and_then(|cookie| cookie.name.as_deref()).or(named);
    let permanent = cookie.and_then(|cookie| cookie.lifetime_type.as_deref()) == Some("Permanent");
    Some(Persistence::Cookie {
        name: name.map(Text::from),
        path: cookie.and_then(|cookie| cookie.path.as_deref()).map(Text::from),
        permanent: time(session.absolute_timeout.as_deref()).filter(|_| permanent),
    })
}

fn time(text: Option<&str>) -> Option<Duration> {
    text.and_then(gep_duration)
}
