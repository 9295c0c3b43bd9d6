use std::time::Duration;

use super::filters::{Filters, one_after_other};
use super::matcher::Match;
use super::url::{path_rewrite, redirect};
use super::{Entry, INVALID_BACKEND};
use crate::gateway::{Backend, BackendRef, Filter, Persistence, Retry, Rule, RuleTimeouts};
use crate::name::{Hostname, Text};
use crate::route::{
    Action, AvoidHost, BackOff, ClusterChoice, ClusterName, Denominator, DirectResponse, Forward, Fraction,
    HostRewrite, MissingCluster, RetryOn, RetryPolicy, Route, RouteMatch, WeightedChoice, WeightedCluster,
    WeightedClusters,
};

/// Where routes are compiled for.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) entry: Entry,
    /// The host, or the wildcard; `None` for any.
    pub(super) host: Option<&'p Hostname>,
}

/// A rule of either kind of route, without its matches.
#[derive(Clone)]
pub(super) struct RuleView<'r> {
    /// `namespace/name/rule`.
    name: Text,
    filters: &'r [Filter],
    backends: &'r [BackendRef],
    timeouts: RuleTimeouts,
    retry: Option<&'r Retry>,
    session: Option<&'r Persistence>,
    grpc: bool,
}

/// A filter cannot do what it should, which is not to be passed over.
pub(super) struct Unusable;

impl<'r> RuleView<'r> {
    pub(super) fn new<M: Match>(route: &Text, at: usize, rule: &'r Rule<M>) -> Self {
        let name = match &rule.name {
            Some(name) => format!("{route}/{name}"),
            None => format!("{route}/{at}"),
        };
        Self {
            name: name.into(),
            filters: &rule.filters,
            backends: &rule.backends,
            timeouts: rule.timeouts,
            retry: rule.retry.as_ref(),
            session: rule.session.as_ref(),
            grpc: M::GRPC,
        }
    }

    pub(super) fn without_backends<M: Match>(route: &Text) -> Self {
        let (name, timeouts) = (format!("{route}/0").into(), RuleTimeouts::default());
        Self { name, filters: &[], backends: &[], timeouts, retry: None, session: None, grpc: M::GRPC }
    }

    /// What becomes of the requests of one match, whose prefix, if it has one, is given without a slash at its end.
    ///
    /// It is several routes where backends want something for their share that Envoy knows for routes only.
    pub(super) fn routes(&self, matcher: &RouteMatch, prefix: Option<&str>, place: Place<'_>) -> Vec<Route> {
        let mut filters = Filters::new(self.filters, &self.name, self.session);
        if filters.unresolved {
            return vec![self.route(matcher.clone(), self.refusal(), filters)];
        }
        if let Some(wanted) = filters.redirect {
            let action = redirect(wanted, prefix, place).map_or_else(|Unusable| self.refusal(), Action::Redirect);
            return vec![self.route(matcher.clone(), action, filters)];
        }
        let mut shares: Vec<Share<'_>> =
            self.backends.iter().filter_map(|backend| Share::new(backend, &self.name)).collect();
        if shares.iter().all(|share| share.cluster.is_none()) {
            return vec![self.route(matcher.clone(), self.refusal(), filters)];
        }
        if shares.iter().any(Share::needs_route) {
            return self.split(matcher, &shares, &filters, prefix, place);
        }
        // Either the rule edits headers and host, or each of its backends by what both say: in Envoy a route has the last word.
        if shares.iter().any(|share| share.filters.edits_headers() || share.filters.host.is_some()) {
            let (headers, host) = (std::mem::take(&mut filters.headers), filters.host.take());
            for Share { filters: own, .. } in &mut shares {
                own.headers = one_after_other(&headers, &own.headers);
                own.host = own.host.take().or_else(|| host.clone());
            }
        }
        let cluster = match shares.as_slice() {
            [Share { cluster: Some(cluster), filters: own, .. }] if own.is_plain() => {
                ClusterChoice::Named((*cluster).clone())
            }
            shares => weighted(shares),
        };
        let action = self.forward(cluster, &filters, prefix).map_or_else(
            |Unusable| self.refusal(),
            |mut forward| {
                if shares.iter().any(|share| share.cluster.is_none()) {
                    forward.missing = self.invalid();
                }
                Action::Forward(Box::new(forward))
            },
        );
        vec![self.route(matcher.clone(), action, filters)]
    }

    /// One route for each backend. Each takes a part of the requests up to its own end of the scale: a request has one
    /// number for all routes of a table, so that it is taken by the one whose share the number falls into.
    fn split(
        &self,
        matcher: &RouteMatch,
        shares: &[Share<'_>],
        filters: &Filters<'_>,
        prefix: Option<&str>,
        place: Place<'_>,
    ) -> Vec<Route> {
        let total: u64 = shares.iter().map(|share| u64::from(share.weight)).sum();
        let mut end = 0;
        let route = |share: &Share<'_>| {
            end += u64::from(share.weight);
            let mut matcher = matcher.clone();
            matcher.fraction = (end < total).then(|| part(end, total));
            let filters = filters.with(&share.filters);
            let action = match (share.cluster, filters.redirect) {
                (None, _) => Ok(self.refusal()),
                (Some(_), Some(wanted)) => redirect(wanted, prefix, place).map(Action::Redirect),
                (Some(cluster), None) => {
                    let forward = self.forward(ClusterChoice::Named(cluster.clone()), &filters, prefix);
                    forward.map(|forward| Action::Forward(Box::new(forward)))
                }
            };
            self.route(matcher, action.unwrap_or_else(|Unusable| self.refusal()), filters)
        };
        shares.iter().map(route).collect()
    }

    fn route(&self, matcher: RouteMatch, action: Action, filters: Filters<'_>) -> Route {
        let Filters { headers, settings, .. } = filters;
        Route { name: self.name.clone(), headers, filters: settings, ..Route::new(matcher, action) }
    }

    fn forward(
        &self,
        cluster: ClusterChoice,
        filters: &Filters<'_>,
        prefix: Option<&str>,
    ) -> Result<Forward, Unusable> {
        let path = filters.path.map(|wanted| path_rewrite(wanted, prefix)).transpose()?.flatten();
        let (timeout, per_try_timeout) = self.limits();
        Ok(Forward {
            path,
            host: filters.host.clone().map(HostRewrite::Literal),
            timeout: Some(timeout),
            retry: self.retry.map(|retry| retry_policy(retry, per_try_timeout)),
            mirrors: filters.mirrors.clone(),
            ..Forward::new(cluster)
        })
    }

    /// The timeout of the request, zero for none, and that of an attempt.
    fn limits(&self) -> (Duration, Option<Duration>) {
        let some = |timeout: Option<Duration>| timeout.filter(|timeout| !timeout.is_zero());
        let (request, attempt) = (some(self.timeouts.request), some(self.timeouts.backend_request));
        match self.retry {
            Some(_) => (request.unwrap_or_default(), attempt),
            // There is one attempt, so its timeout is one for the request.
            None => (request.into_iter().chain(attempt).min().unwrap_or_default(), None),
        }
    }

    /// What is answered when nothing can be done with a request.
    fn refusal(&self) -> Action {
        Action::Respond(DirectResponse { status: self.invalid().status(), body: Vec::new() })
    }

    /// What is answered in place of a backend that is invalid. Towards gRPC, 503 becomes `UNAVAILABLE`.
    fn invalid(&self) -> MissingCluster {
        if self.grpc { MissingCluster::ServiceUnavailable } else { MissingCluster::InternalServerError }
    }
}

/// A backend that gets requests.
struct Share<'r> {
    /// `None` if it is invalid, or one of its filters is.
    cluster: Option<&'r Text>,
    weight: u32,
    filters: Filters<'r>,
}

impl<'r> Share<'r> {
    /// `None` if it gets none.
    fn new(backend: &'r BackendRef, rule: &Text) -> Option<Self> {
        let filters = Filters::new(&backend.filters, rule, None);
        let cluster = match &backend.backend {
            Backend::Cluster(cluster) if !filters.unresolved => Some(cluster),
            Backend::Cluster(_) | Backend::Invalid => None,
        };
        (backend.weight > 0).then_some(Self { cluster, weight: backend.weight, filters })
    }

    /// Whether its filters do what a weighted cluster cannot.
    fn needs_route(&self) -> bool {
        let Filters { redirect, path, mirrors, .. } = &self.filters;
        self.cluster.is_some() && (redirect.is_some() || path.is_some() || !mirrors.is_empty())
    }

    fn cluster(&self) -> WeightedCluster {
        let Filters { headers, host, settings, .. } = &self.filters;
        let name = self.cluster.cloned().unwrap_or_else(|| INVALID_BACKEND.into());
        WeightedCluster {
            cluster: ClusterName::Named(name),
            headers: headers.clone(),
            host: host.clone(),
            filters: settings.clone(),
            ..WeightedCluster::new("", self.weight)
        }
    }
}

fn weighted(shares: &[Share<'_>]) -> ClusterChoice {
    let clusters = shares.iter().map(Share::cluster).collect();
    ClusterChoice::Weighted(WeightedClusters { clusters, choice: WeightedChoice::Random })
}

/// A part of the requests, to the nearest millionth.
fn part(numerator: u64, denominator: u64) -> Fraction {
    const MILLION: u64 = 1_000_000;
    let millionths = (numerator * MILLION + denominator / 2).checked_div(denominator).unwrap_or_default();
    Fraction { numerator: u32::try_from(millionths).unwrap_or(u32::MAX), denominator: Denominator::Million }
}

fn retry_policy(retry: &Retry, per_try_timeout: Option<Duration>) -> RetryPolicy {
    const NO_RESPONSE: RetryOn = RetryOn::CONNECT_FAILURE.and(RetryOn::REFUSED_STREAM).and(RetryOn::RESET);
    let mut back_off = BackOff::default();
    back_off.base = retry.back_off.unwrap_or(back_off.base);
    RetryPolicy {
        on: if retry.codes.is_empty() { NO_RESPONSE } else { NO_RESPONSE.and(RetryOn::STATUS_CODES) },
        retries: retry.attempts.unwrap_or(2),
        per_try_timeout,
        status_codes: retry.codes.clone(),
        back_off,
        avoid: vec![AvoidHost::Previous],
        host_attempts: 5,
        ..RetryPolicy::default()
    }
}
