use std::time::Duration;

use super::matcher::pattern;
use super::{Cors, Destination, HeaderEdit, Headers, HttpRoute, MirrorTo, Redirect, RedirectPort, Retries, UriRewrite};
use crate::gateway::{Backend, Entry, INVALID_BACKEND};
use crate::name::Text;
use crate::route::{
    AvoidHost, BackOff, ClusterChoice, ClusterName, CorsPolicy, Forward, GrpcTimeout, HeaderEdits, HostRewrite, Mirror,
    Mutation, PathRewrite, RedirectPath, RetryOn, RetryPolicy, WeightedChoice, WeightedCluster, WeightedClusters,
};

/// How requests are sent on.
pub(super) fn forward(route: &HttpRoute, destinations: &[Destination]) -> Forward {
    let timeout = route.timeout.unwrap_or_default();
    let set = authority(&route.headers);
    Forward {
        path: route.rewrite.uri.as_ref().map(path_rewrite),
        host: route.rewrite.authority.clone().or(set).map(HostRewrite::Literal),
        timeout: Some(timeout),
        grpc_timeout: Some(GrpcTimeout { max: timeout, offset: None }),
        retry: retry_policy(route.retries.as_ref()),
        mirrors: route.mirrors.iter().filter_map(mirror).collect(),
        ..Forward::new(choice(destinations))
    }
}

fn choice(destinations: &[Destination]) -> ClusterChoice {
    match destinations {
        [Destination { backend, headers, .. }] if *headers == Headers::default() => ClusterChoice::Named(name(backend)),
        // The weight of the only one says nothing, and need not be more than zero.
        [one] => weighted(vec![WeightedCluster { weight: 1, ..cluster(one) }]),
        several => weighted(several.iter().map(cluster).collect()),
    }
}

fn weighted(clusters: Vec<WeightedCluster>) -> ClusterChoice {
    ClusterChoice::Weighted(WeightedClusters { clusters, choice: WeightedChoice::Random })
}

fn cluster(destination: &Destination) -> WeightedCluster {
    let Destination { backend, weight, headers } = destination;
    WeightedCluster {
        cluster: ClusterName::Named(name(backend)),
        headers: edits(headers),
        host: authority(headers),
        ..WeightedCluster::new("", *weight)
    }
}

fn name(backend: &Backend) -> Text {
    match backend {
        Backend::Cluster(cluster) => cluster.clone(),
        Backend::Invalid => INVALID_BACKEND.into(),
    }
}

fn path_rewrite(rewrite: &UriRewrite) -> PathRewrite {
    match rewrite {
        UriRewrite::Prefix(prefix) => PathRewrite::Prefix(prefix.clone()),
        UriRewrite::Regex(substitution) => PathRewrite::Substitute(substitution.clone()),
    }
}

fn mirror(mirror: &MirrorTo) -> Option<Mirror> {
    let Backend::Cluster(cluster) = &mirror.backend else { return None };
    let cluster = ClusterName::Named(cluster.clone());
    Some(Mirror { cluster, fraction: mirror.fraction, keep_host: false, host: None })
}

/// Where a client is sent.
pub(super) fn redirect(redirect: &Redirect, entry: Entry) -> crate::route::Redirect {
    let Redirect { uri, authority, scheme, port, status } = redirect;
    let tls = scheme.as_ref().map_or(entry.tls, |scheme| *scheme == "https");
    let unsaid = if tls { 443 } else { 80 };
    crate::route::Redirect {
        scheme: scheme.clone(),
        host: authority.clone(),
        port: match *port {
            RedirectPort::Kept => None,
            RedirectPort::Given(port) => Some(port),
            RedirectPort::OfEntry => Some(entry.port).filter(|port| *port != unsaid),
        },
        path: uri.clone().map(RedirectPath::Whole),
        status: *status,
        strip_query: false,
    }
}

fn retry_policy(retries: Option<&Retries>) -> Option<RetryPolicy> {
    let default = Retries { attempts: 2, ..Retries::default() };
    let Retries { attempts, per_try_timeout, per_try_idle_timeout, on, remote_localities, same_hosts, back_off } =
        retries.unwrap_or(&default);
    if *attempts == 0 {
        return None;
    }
    let (on, status_codes) = retry_on(on.as_ref().map(Text::as_str));
    let base = BackOff::default();
    Some(RetryPolicy {
        on,
        retries: *attempts,
        per_try_timeout: per_try_timeout.filter(|timeout| *timeout > Duration::ZERO),
        per_try_idle_timeout: *per_try_idle_timeout,
        status_codes,
        back_off: BackOff { base: back_off.unwrap_or(base.base), ..base },
        avoid: if *same_hosts { Vec::new() } else { vec![AvoidHost::Previous] },
        host_attempts: 5,
        avoid_priorities: remote_localities.then_some(2),
        ..RetryPolicy::default()
    })
}

/// The tokens, and the statuses among them.
fn retry_on(text: Option<&str>) -> (RetryOn, Vec<u16>) {
    let (mut on, mut codes) = (RetryOn::default(), Vec::new());
    let text = text.filter(|text| !text.is_empty()).unwrap_or("connect-failure,refused-stream,unavailable,cancelled");
    for token in text.split(',').map(str::trim) {
        match token.parse() {
            Ok(code @ 100..600) => {
                codes.push(code);
                on = on.and(RetryOn::STATUS_CODES);
            }
            _ => on = on.and(RetryOn::from_token(token).unwrap_or_default()),
        }
    }
    (on, codes)
}

pub(super) fn cors_policy(cors: &Cors) -> CorsPolicy {
    let list = |elements: &[Text]| elements.iter().map(Text::as_str).collect::<Vec<_>>().join(",").into();
    CorsPolicy {
        origins: cors.origins.iter().map(pattern).collect(),
        methods: cors.methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(",").into(),
        headers: list(&cors.headers),
        expose: list(&cors.expose),
        max_age: cors.max_age,
        credentials: cors.credentials,
        forward_unmatched_preflights: !cors.ignore_unmatched_preflights,
        ..CorsPolicy::default()
    }
}

pub(super) fn edits(headers: &Headers) -> HeaderEdits {
    HeaderEdits { request: mutation(&headers.request), response: mutation(&headers.response) }
}

fn mutation(edit: &HeaderEdit) -> Mutation {
    crate::gateway::edits::mutation(edit.set.iter().cloned(), edit.add.iter().cloned(), &edit.remove)
}

/// The authority that headers of a request are to have.
fn authority(headers: &Headers) -> Option<Text> {
    crate::gateway::edits::authority(&headers.request.set).map(|value| value.as_str().into())
}
