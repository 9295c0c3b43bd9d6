//! Istio's VirtualService, from how it is written to how it is compiled.
//!
//! One reading serves twice: when manifests are judged, for what is wrong, and when they are translated, for the value.

mod action;
mod stream;
mod value;

use mesh_core::gateway::virtual_service::{HttpMatch, HttpRoute, MirrorTo, RouteAction, TextMatch, VirtualService};
use mesh_core::gateway::{Backend, RouteId};
use mesh_core::name::Text;
use mesh_core::string_match::Regex;

pub(super) use self::stream::target;
use self::value::{header_name, percentage, text_match};
use crate::finding::{Code, Faults};
use crate::resource::virtual_service::{self as source, is_for_mesh};

/// Finds what a destination means.
pub(super) type Resolve<'r> = dyn FnMut(&source::Destination) -> Backend + 'r;

/// The part of a VirtualService that is about requests.
pub(super) fn read(
    service: &source::VirtualService,
    resolve: &mut Resolve<'_>,
    faults: &mut Faults<'_>,
) -> VirtualService {
    let metadata = &service.metadata;
    VirtualService {
        id: RouteId { created: metadata.created(), ..RouteId::new(&metadata.namespace, &metadata.name) },
        hosts: service.spec.hosts.iter().map(|host| host.as_str().into()).collect(),
        routes: faults.each("http", &service.spec.http, |faults, route| http_route(route, resolve, faults)),
    }
}

/// What is wrong with a VirtualService by itself.
pub(crate) fn faults(service: &source::VirtualService, faults: &mut Faults<'_>) {
    let spec = &service.spec;
    let routes = read(service, &mut |_| Backend::Invalid, faults).routes;
    stream::faults(spec, faults);
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        faults.error("http", "there is none, and neither `tls` nor `tcp`");
    }
    if spec.hosts.is_empty() {
        faults.error("hosts", "is empty; objects that others delegate to are not supported");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        let name = host.strip_prefix('*').unwrap_or(host);
        if name.contains('*') || (name.is_empty() && !host.starts_with('*')) {
            faults.error(format_args!("hosts[{index}]"), format_args!("`{host}` is no host name"));
        }
    }
    if !is_for_mesh(&spec.gateways) {
        faults.warning("gateways", "`mesh` is none of them; the object has no effect here");
    }
    // Those behind one that takes all are never asked.
    if let Some(index) = routes.iter().position(takes_all).filter(|index| index + 1 < routes.len()) {
        faults.coded(
            Code::UNREACHABLE_RULE,
            format_args!("http[{index}]"),
            "takes all requests; the routes behind it have no effect",
        );
    }
}

fn takes_all(route: &HttpRoute) -> bool {
    let all = |one: &HttpMatch| {
        let any_path = match &one.uri {
            None => true,
            Some(uri) => *uri == TextMatch::Prefix("/".into()),
        };
        let here = one.gateways.is_empty() || one.gateways.iter().any(|gateway| *gateway == "mesh");
        let HttpMatch { name, uri, ignore_uri_case, gateways, .. } = HttpMatch::default();
        any_path && here && HttpMatch { name, uri, ignore_uri_case, gateways, ..one.clone() } == HttpMatch::default()
    };
    route.matches.is_empty() || route.matches.iter().any(all)
}

fn http_route(route: &source::HttpRoute, resolve: &mut Resolve<'_>, faults: &mut Faults<'_>) -> HttpRoute {
    let source::HttpRoute {
        name,
        r#match: matches,
        route: destinations,
        redirect,
        direct_response,
        delegate,
        rewrite,
        timeout,
        retries,
        fault,
        mirror: _,
        mirrors: _,
        mirror_percentage: _,
        mirror_percent: _,
        cors_policy,
        headers,
    } = route;
    if delegate.is_some() {
        faults.error("delegate", "is not supported; write the routes of the other object here");
    }
    let actions = [!destinations.is_empty(), redirect.is_some(), direct_response.is_some()];
    if actions.iter().filter(|given| **given).count() != 1 && delegate.is_none() {
        faults.error("route", "one of `route`, `redirect` and `directResponse` is needed");
    }
    if redirect.is_some() && rewrite.is_some() {
        faults.error("rewrite", "there is `redirect` too");
    }
    let action = match (redirect, direct_response) {
        (Some(redirect), _) => faults.within("redirect", |faults| action::redirect(redirect, faults)),
        (None, Some(answer)) => faults.within("directResponse", |faults| action::answer(answer, faults)),
        (None, None) => RouteAction::Route(
            faults.each("route", destinations, |faults, destination| action::destination(destination, resolve, faults)),
        ),
    };
    if let [_, _, ..] = destinations.as_slice()
        && destinations.iter().all(|destination| destination.weight.unwrap_or(0) == 0)
    {
        faults.error("route", "of several destinations one needs a weight above 0");
    }
    HttpRoute {
        name: name.as_str().into(),
        matches: faults.each("match", matches, |faults, one| http_match(one, faults)),
        rewrite: faults.within("rewrite", |faults| {
            rewrite.as_ref().map(|rewrite| action::rewrite(rewrite, faults)).unwrap_or_default()
        }),
        timeout: faults.duration("timeout", timeout.as_deref()),
        retries: faults.within("retries", |faults| retries.as_ref().map(|retries| action::retries(retries, faults))),
        fault: faults.within("fault", |faults| fault.as_ref().map(|fault| action::fault(fault, faults))),
        mirrors: mirrors(route, resolve, faults),
        cors: faults.within("corsPolicy", |faults| cors_policy.as_ref().map(|cors| action::cors(cors, faults))),
        headers: faults.within("headers", |faults| {
            headers.as_ref().map(|headers| value::headers(headers, faults)).unwrap_or_default()
        }),
        ..HttpRoute::new(action)
    }
}

fn mirrors(route: &source::HttpRoute, resolve: &mut Resolve<'_>, faults: &mut Faults<'_>) -> Vec<MirrorTo> {
    let source::HttpRoute { mirror, mirrors, mirror_percentage, mirror_percent, .. } = route;
    if mirror.is_some() && !mirrors.is_empty() {
        faults.error("mirrors", "there is `mirror` too");
    }
    let share =
        mirror_percentage.or_else(|| mirror_percent.map(|percent| source::Percentage { value: f64::from(percent) }));
    let one = mirror.as_ref().map(|to| MirrorTo {
        backend: resolve(to),
        fraction: share.map(|share| percentage("mirrorPercentage", share, faults)),
    });
    let several = faults.each("mirrors", mirrors, |faults, mirror| MirrorTo {
        backend: resolve(&mirror.destination),
        fraction: mirror.percentage.map(|share| percentage("percentage", share, faults)),
    });
    one.into_iter().chain(several).collect()
}

fn http_match(one: &source::HttpMatch, faults: &mut Faults<'_>) -> HttpMatch {
    let source::HttpMatch {
        name,
        uri,
        ignore_uri_case,
        scheme,
        method,
        authority,
        headers,
        without_headers,
        query_params,
        port,
        source_labels,
        source_namespace,
        gateways,
        // There are no statistics per match.
        stat_prefix: _,
    } = one;
    if !source_labels.is_empty() {
        faults.warning("sourceLabels", "a waypoint does not know the labels of clients; the match is for nobody");
    }
    if *ignore_uri_case && uri.as_ref().is_some_and(|uri| uri.regex.is_some()) {
        faults.warning("ignoreUriCase", "has no effect on an expression; begin it with (?i)");
    }
    let texts = |text: &String| Text::from(text.as_str());
    let required = |field: &str, text: Option<&source::TextMatch>, faults: &mut Faults<'_>| {
        let text = text?;
        let read = text_match(field, text, faults);
        if read.is_none() {
            faults.error(field, "one of `exact`, `prefix` and `regex` is needed");
        }
        read
    };
    let named = |field: &str, list: &std::collections::BTreeMap<String, source::TextMatch>, faults: &mut Faults<'_>| {
        let one = |(name, text): (&String, &source::TextMatch)| {
            if name.starts_with('@') {
                faults.error(field, format_args!("`{name}`: routes by claims of tokens are not supported"));
                return None;
            }
            let value = text_match(&format!("{field}[{name}]"), text, faults);
            Some((header_name(field, name, faults)?, value))
        };
        list.iter().filter_map(one).collect()
    };
    let query = |(name, text): (&String, &source::TextMatch)| {
        (texts(name), text_match(&format!("queryParams[{name}]"), text, faults))
    };
    let query = query_params.iter().map(query).collect();
    HttpMatch {
        name: name.as_str().into(),
        uri: required("uri", uri.as_ref(), faults),
        ignore_uri_case: *ignore_uri_case,
        scheme: required("scheme", scheme.as_ref(), faults),
        method: required("method", method.as_ref(), faults),
        authority: required("authority", authority.as_ref(), faults),
        headers: named("headers", headers, faults),
        without_headers: named("withoutHeaders", without_headers, faults),
        query,
        port: *port,
        source_labels: source_labels.iter().map(|(key, value)| (texts(key), texts(value))).collect(),
        source_namespace: source_namespace.as_ref().map(texts),
        gateways: gateways.iter().map(texts).collect(),
    }
}

/// An expression, unless it is none.
fn regex(field: &str, text: &str, faults: &mut Faults<'_>) -> Option<Regex> {
    match Regex::new(text) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let reason = error.to_string();
            faults.error(field, reason.lines().next().unwrap_or_default());
            None
        }
    }
}
