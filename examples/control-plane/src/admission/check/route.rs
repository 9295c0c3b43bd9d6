use mesh_core::string_match::Regex;

use crate::finding::Faults;
use crate::resource::text::{is_header_name, is_hostname, path_fault};
use crate::resource::{
    BackendRef, Cors, GrpcMatch, GrpcRoute, HeaderModifier, HttpMatch, HttpRoute, HttpRule, NamedMatch, ParentRef,
    PathModifier, RequestMirror, RequestRedirect, RouteFilter, RuleRetry, RuleTimeouts, SessionPersistence,
};

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// An HTTPRoute by itself.
pub(crate) fn http_route(route: &HttpRoute, faults: &mut Faults<'_>) {
    let spec = &route.spec;
    parents(&spec.parent_refs, &spec.hostnames, faults);
    let rules = spec.rules.as_deref().unwrap_or_default();
    faults.at_most("rules", rules.len(), 16);
    faults.at_most("rules[*].matches", rules.iter().map(|rule| rule.matches.len()).sum(), 128);
    faults.distinct("rules", rules.iter().filter_map(|rule| rule.name.as_ref()), "name");
    faults.each("rules", rules, |faults, rule| http_rule(rule, faults));
}

/// A GRPCRoute by itself.
pub(crate) fn grpc_route(route: &GrpcRoute, faults: &mut Faults<'_>) {
    let spec = &route.spec;
    parents(&spec.parent_refs, &spec.hostnames, faults);
    let rules = spec.rules.as_deref().unwrap_or_default();
    faults.at_most("rules", rules.len(), 16);
    faults.distinct("rules", rules.iter().filter_map(|rule| rule.name.as_ref()), "name");
    faults.each("rules", rules, |faults, rule| {
        faults.at_most("matches", rule.matches.len(), 64);
        faults.each("matches", &rule.matches, |faults, one| grpc_match(one, faults));
        filters(&rule.filters, Scope::Grpc, faults);
        backends(&rule.backend_refs, Scope::Grpc, faults);
        session(rule.session_persistence.as_ref(), faults);
    });
}

/// Where a filter stands.
#[derive(Clone, Copy)]
enum Scope<'a> {
    Http(&'a HttpRule),
    Grpc,
}

pub(super) fn parents(refs: &[ParentRef], hostnames: &[String], faults: &mut Faults<'_>) {
    faults.at_most("parentRefs", refs.len(), 32);
    for (index, parent) in refs.iter().enumerate() {
        let field = format!("parentRefs[{index}]");
        let same = |other: &&ParentRef| {
            (&other.group, &other.kind, &other.namespace, &other.name)
                == (&parent.group, &parent.kind, &parent.namespace, &parent.name)
        };
        let part = |parent: &ParentRef| (parent.section_name.clone(), parent.port);
        for before in refs.iter().take(index).filter(same) {
            if part(before) == part(parent) {
                faults.error(&field, "stands there twice");
            } else if (before.section_name.is_some(), before.port.is_some())
                != (parent.section_name.is_some(), parent.port.is_some())
            {
                faults.error(&field, "of references to one parent, all or none have sectionName and port");
            }
        }
        if parent.port == Some(0) {
            faults.error(format_args!("{field}.port"), "0 is no port");
        }
    }
    faults.at_most("hostnames", hostnames.len(), 16);
    for (index, name) in hostnames.iter().enumerate().filter(|(_, name)| !is_hostname(name)) {
        faults.error(format_args!("hostnames[{index}]"), format_args!("`{name}` is no host name"));
    }
}

fn http_rule(rule: &HttpRule, faults: &mut Faults<'_>) {
    faults.at_most("matches", rule.matches.len(), 64);
    faults.each("matches", &rule.matches, |faults, one| http_match(one, faults));
    filters(&rule.filters, Scope::Http(rule), faults);
    backends(&rule.backend_refs, Scope::Http(rule), faults);
    faults.within("timeouts", |faults| timeouts(&rule.timeouts, faults));
    if let Some(retry) = &rule.retry {
        faults.within("retry", |faults| retries(retry, faults));
    }
    session(rule.session_persistence.as_ref(), faults);
    let redirects = rule.filters.iter().any(|filter| filter.r#type == "RequestRedirect");
    if redirects && !rule.backend_refs.is_empty() {
        faults.error("backendRefs", "a rule that redirects has none");
    }
}

fn http_match(one: &HttpMatch, faults: &mut Faults<'_>) {
    if let Some(path) = &one.path {
        let value = path.value.as_deref().unwrap_or("/");
        match path.r#type.as_deref().unwrap_or("PathPrefix") {
            "Exact" | "PathPrefix" => {
                if let Some(fault) = path_fault(value) {
                    faults.error("path.value", format_args!("`{value}` {fault}"));
                }
            }
            "RegularExpression" => expression("path.value", value, faults),
            other => faults.error("path.type", format_args!("`{other}` is not known")),
        }
    }
    faults.at_most("headers", one.headers.len(), 16);
    faults.each("headers", &one.headers, |faults, header| named(header, 4096, faults));
    faults.at_most("queryParams", one.query_params.len(), 16);
    faults.each("queryParams", &one.query_params, |faults, parameter| named(parameter, 1024, faults));
    faults.one_of("method", one.method.as_deref(), &METHODS);
}

fn named(one: &NamedMatch, longest: usize, faults: &mut Faults<'_>) {
    if !is_header_name(&one.name) {
        faults.error("name", format_args!("`{}` is no token of at most 256 bytes", one.name));
    }
    if one.value.is_empty() || one.value.len() > longest {
        faults.error("value", format_args!("must have 1 to {longest} bytes"));
    }
    match one.r#type.as_deref().unwrap_or("Exact") {
        "Exact" => {}
        "RegularExpression" => expression("value", &one.value, faults),
        other => faults.error("type", format_args!("`{other}` is not known")),
    }
}

fn expression(field: &str, text: &str, faults: &mut Faults<'_>) {
    if let Err(error) = Regex::new(text) {
        let reason = error.to_string();
        faults.error(field, reason.lines().next().unwrap_or_default());
    }
}

fn grpc_match(one: &GrpcMatch, faults: &mut Faults<'_>) {
    if let Some(method) = &one.method {
        let parts = [("method.service", &method.service), ("method.method", &method.method)];
        if parts.iter().all(|(_, part)| part.as_deref().unwrap_or_default().is_empty()) {
            faults.error("method", "names neither a service nor a method");
        }
        faults.one_of("method.type", method.r#type.as_deref(), &["Exact", "RegularExpression"]);
        for (field, part) in parts {
            let part = part.as_deref().unwrap_or_default();
            if method.r#type.as_deref() == Some("RegularExpression") {
                expression(field, part, faults);
            } else if part.contains('/') {
                faults.error(field, format_args!("`{part}` holds a slash"));
            }
        }
    }
    faults.at_most("headers", one.headers.len(), 16);
    faults.each("headers", &one.headers, |faults, header| named(header, 4096, faults));
}

fn filters(list: &[RouteFilter], scope: Scope<'_>, faults: &mut Faults<'_>) {
    faults.at_most("filters", list.len(), 16);
    let once = list.iter().map(|filter| filter.r#type.as_str()).filter(|kind| *kind != "RequestMirror");
    faults.distinct("filters", once, "type");
    let has = |kind: &str| list.iter().any(|filter| filter.r#type == kind);
    if has("RequestRedirect") && has("URLRewrite") {
        faults.error("filters", "RequestRedirect and URLRewrite exclude each other");
    }
    faults.each("filters", list, |faults, one| filter(one, scope, faults));
}

fn filter(filter: &RouteFilter, scope: Scope<'_>, faults: &mut Faults<'_>) {
    let RouteFilter {
        r#type,
        request_header_modifier,
        response_header_modifier,
        request_redirect,
        url_rewrite,
        request_mirror,
        cors,
        extension_ref,
        external_auth,
    } = filter;
    let given = [
        ("RequestHeaderModifier", "requestHeaderModifier", request_header_modifier.is_some()),
        ("ResponseHeaderModifier", "responseHeaderModifier", response_header_modifier.is_some()),
        ("RequestRedirect", "requestRedirect", request_redirect.is_some()),
        ("URLRewrite", "urlRewrite", url_rewrite.is_some()),
        ("RequestMirror", "requestMirror", request_mirror.is_some()),
        ("CORS", "cors", cors.is_some()),
        ("ExtensionRef", "extensionRef", extension_ref.is_some()),
        ("ExternalAuth", "externalAuth", external_auth.is_some()),
    ];
    if !given.iter().any(|(kind, ..)| kind == r#type) {
        faults.error("type", format_args!("`{}` is not known", r#type));
    }
    if matches!(scope, Scope::Grpc)
        && matches!(r#type.as_str(), "RequestRedirect" | "URLRewrite" | "CORS" | "ExternalAuth")
    {
        faults.error("type", format_args!("`{}` is no filter of a GRPCRoute", r#type));
    }
    for (kind, field, given) in given {
        if given != (kind == r#type) {
            let message = if given { "does not fit the type" } else { "is missing" };
            faults.error(field, message);
        }
    }
    for (field, modifier) in
        [("requestHeaderModifier", request_header_modifier), ("responseHeaderModifier", response_header_modifier)]
    {
        if let Some(modifier) = modifier {
            faults.within(field, |faults| header_modifier(modifier, faults));
        }
    }
    if let Some(redirect) = request_redirect {
        faults.within("requestRedirect", |faults| request_redirect_of(redirect, scope, faults));
    }
    if let Some(rewrite) = url_rewrite {
        faults.within("urlRewrite", |faults| {
            hostname(rewrite.hostname.as_deref(), faults);
            path_modifier(rewrite.path.as_ref(), scope, faults);
        });
    }
    if let Some(mirror) = request_mirror {
        faults.within("requestMirror", |faults| mirror_of(mirror, faults));
    }
    if let Some(cors) = cors {
        faults.within("cors", |faults| cors_of(cors, faults));
    }
}

fn hostname(name: Option<&str>, faults: &mut Faults<'_>) {
    if let Some(name) = name.filter(|name| !is_hostname(name) || name.starts_with('*')) {
        faults.error("hostname", format_args!("`{name}` is no precise host name"));
    }
}

fn header_modifier(modifier: &HeaderModifier, faults: &mut Faults<'_>) {
    let HeaderModifier { set, add, remove } = modifier;
    for (field, length) in [("set", set.len()), ("add", add.len()), ("remove", remove.len())] {
        faults.at_most(field, length, 16);
    }
    let values = set.iter().chain(add);
    let names = values.clone().map(|header| &header.name).chain(remove);
    for name in names.clone().filter(|name| !is_header_name(name)) {
        faults.error("(name)", format_args!("`{name}` is no token of at most 256 bytes"));
    }
    for header in values {
        let good = header.value.len() <= 4096 && http::HeaderValue::from_str(&header.value).is_ok();
        if header.value.is_empty() || !good {
            faults.error("(value)", format_args!("of `{}` is no value of 1 to 4096 bytes", header.name));
        }
    }
    faults.distinct("(name)", names.map(|name| name.to_ascii_lowercase()), "name; there is one action per name");
}

fn request_redirect_of(redirect: &RequestRedirect, scope: Scope<'_>, faults: &mut Faults<'_>) {
    faults.one_of("scheme", redirect.scheme.as_deref(), &["http", "https"]);
    hostname(redirect.hostname.as_deref(), faults);
    if redirect.port == Some(0) {
        faults.error("port", "0 is no port");
    }
    if let Some(status) = redirect.status_code.filter(|status| ![301, 302, 303, 307, 308].contains(status)) {
        faults.error("statusCode", format_args!("{status} is none of 301, 302, 303, 307, 308"));
    }
    path_modifier(redirect.path.as_ref(), scope, faults);
}

fn path_modifier(path: Option<&PathModifier>, scope: Scope<'_>, faults: &mut Faults<'_>) {
    let Some(PathModifier { r#type, replace_full_path, replace_prefix_match }) = path else { return };
    faults.one_of("path.type", Some(r#type), &["ReplaceFullPath", "ReplacePrefixMatch"]);
    for (kind, field, value) in [
        ("ReplaceFullPath", "path.replaceFullPath", replace_full_path),
        ("ReplacePrefixMatch", "path.replacePrefixMatch", replace_prefix_match),
    ] {
        match value {
            None if kind == r#type => faults.error(field, "is missing"),
            Some(_) if kind != r#type => faults.error(field, "does not fit the type"),
            Some(value) if value.len() > 1024 => faults.error(field, "is longer than 1024 bytes"),
            _ => {}
        }
    }
    if r#type == "ReplacePrefixMatch"
        && let Scope::Http(rule) = scope
    {
        let is_prefix = |one: &HttpMatch| {
            let kind = one.path.as_ref().and_then(|path| path.r#type.as_deref());
            kind.unwrap_or("PathPrefix") == "PathPrefix"
        };
        // Without any match there is one of the prefix `/`.
        if rule.matches.len() > 1 || !rule.matches.iter().all(is_prefix) {
            faults.error("path.type", "ReplacePrefixMatch needs a rule with one match, of type PathPrefix");
        }
    }
}

fn mirror_of(mirror: &RequestMirror, faults: &mut Faults<'_>) {
    faults.within("backendRef", |faults| backend(&mirror.backend_ref, faults));
    if mirror.percent.is_some() && mirror.fraction.is_some() {
        faults.error("fraction", "there is `percent` too");
    }
    if mirror.percent.is_some_and(|percent| percent > 100) {
        faults.error("percent", "is above 100");
    }
    if mirror.fraction.is_some_and(|fraction| fraction.denominator == 0 || fraction.numerator > fraction.denominator) {
        faults.error("fraction", "is above 1");
    }
}

fn cors_of(cors: &Cors, faults: &mut Faults<'_>) {
    let lists = [
        ("allowOrigins", &cors.allow_origins),
        ("allowMethods", &cors.allow_methods),
        ("allowHeaders", &cors.allow_headers),
        ("exposeHeaders", &cors.expose_headers),
    ];
    for (field, list) in lists {
        faults.at_most(field, list.len(), 64);
        if list.len() > 1 && list.iter().any(|entry| entry == "*") {
            faults.error(field, "`*` stands alone");
        }
    }
    for origin in cors.allow_origins.iter().filter(|origin| *origin != "*") {
        let host = origin.split_once("://").map(|(_, host)| host);
        if host.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#'])) {
            faults.error("allowOrigins", format_args!("`{origin}` is no origin such as https://shop.example"));
        }
    }
    for name in
        cors.allow_headers.iter().chain(&cors.expose_headers).filter(|name| *name != "*" && !is_header_name(name))
    {
        faults.error("(name)", format_args!("`{name}` is no header"));
    }
    if cors.max_age == Some(0) {
        faults.error("maxAge", "is below 1");
    }
}

fn backends(list: &[BackendRef], scope: Scope<'_>, faults: &mut Faults<'_>) {
    faults.at_most("backendRefs", list.len(), 16);
    faults.each("backendRefs", list, |faults, one| {
        backend(one, faults);
        if one.weight.is_some_and(|weight| weight > 1_000_000) {
            faults.error("weight", "is above 1000000");
        }
        filters(&one.filters, scope, faults);
    });
}

pub(super) fn backend(backend: &BackendRef, faults: &mut Faults<'_>) {
    let is_service = backend.group.as_deref().unwrap_or_default().is_empty()
        && backend.kind.as_deref().is_none_or(|kind| kind == "Service");
    match backend.port {
        Some(0) => faults.error("port", "0 is no port"),
        None if is_service => faults.error("port", "is missing"),
        _ => {}
    }
}

fn timeouts(timeouts: &RuleTimeouts, faults: &mut Faults<'_>) {
    let request = faults.gep_duration("request", timeouts.request.as_deref());
    let backend = faults.gep_duration("backendRequest", timeouts.backend_request.as_deref());
    if let (Some(request), Some(backend)) = (request, backend)
        && !request.is_zero()
        && backend > request
    {
        faults.error("backendRequest", "is longer than `request`");
    }
}

fn retries(retry: &RuleRetry, faults: &mut Faults<'_>) {
    for code in retry.codes.iter().filter(|code| !(400..600).contains(*code)) {
        faults.error("codes", format_args!("{code} is none of 400 to 599"));
    }
    if retry.attempts == Some(0) {
        faults.error("attempts", "is below 1");
    }
    faults.gep_duration("backoff", retry.backoff.as_deref());
}

fn session(session: Option<&SessionPersistence>, faults: &mut Faults<'_>) {
    let Some(session) = session else { return };
    faults.within("sessionPersistence", |faults| {
        faults.one_of("type", session.r#type.as_deref(), &["Cookie", "Header"]);
        faults.gep_duration("absoluteTimeout", session.absolute_timeout.as_deref());
        faults.gep_duration("idleTimeout", session.idle_timeout.as_deref());
        if let Some(cookie) = &session.cookie {
            faults.one_of("cookie.lifetimeType", cookie.lifetime_type.as_deref(), &["Session", "Permanent"]);
            if cookie.lifetime_type.as_deref() == Some("Permanent") && session.absolute_timeout.is_none() {
                faults.error("absoluteTimeout", "a permanent cookie needs it");
            }
        }
        let by_header = session.r#type.as_deref() == Some("Header");
        if by_header && session.header.is_none() && session.session_name.is_none() {
            faults.error("header", "is missing");
        }
        if let Some(header) = session.header.as_ref().filter(|header| !is_header_name(&header.name)) {
            faults.error("header.name", format_args!("`{}` is no header", header.name));
        }
    });
}
