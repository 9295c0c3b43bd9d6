use std::borrow::Cow;

use http::HeaderMap;

use super::action::cluster_in;
use super::{
    Action, ClusterChoice, FilterOverride, FilterOverrides, Forward, HeaderEdits, Hedge, Mirror, RateLimit,
    RequestHash, RetryPolicy, Route, RouteTable, Subset, VirtualHost, WeightedChoice, WeightedCluster,
    WeightedClusters,
};
use crate::request::{Head, Request};

/// What a route table says about one request; every setting with the level that counts.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Selected<'t> {
    /// The table.
    pub table: &'t RouteTable,
    /// The host.
    pub host: &'t VirtualHost,
    /// The route.
    pub route: &'t Route,
    /// The cluster that was chosen, where the route has several.
    pub weighted: Option<&'t WeightedCluster>,
}

impl<'t> Selected<'t> {
    pub(super) fn new(table: &'t RouteTable, host: &'t VirtualHost, route: &'t Route, weighted: Option<usize>) -> Self {
        let clusters = match &route.action {
            Action::Forward(forward) => forward.weighted(),
            Action::Redirect(_) | Action::Respond(_) | Action::NonForwarding => None,
        };
        let weighted = clusters.zip(weighted).and_then(|(clusters, at)| clusters.clusters.get(at));
        Self { table, host, route, weighted }
    }

    /// How the request is sent on, if it is.
    #[must_use]
    pub fn forward(&self) -> Option<&'t Forward> {
        match &self.route.action {
            Action::Forward(forward) => Some(forward),
            Action::Redirect(_) | Action::Respond(_) | Action::NonForwarding => None,
        }
    }

    /// The cluster it is sent to. `None` when it is not sent on, or the header that should name the cluster does not.
    #[must_use]
    pub fn cluster<'a>(&self, request: &Request<'a>) -> Option<&'a str>
    where
        't: 'a,
    {
        match (&self.forward()?.cluster, self.weighted) {
            (ClusterChoice::Named(name), _) => Some(name.as_str()),
            (ClusterChoice::Header(name), _) => cluster_in(request, name),
            (ClusterChoice::Weighted(_), weighted) => weighted?.cluster.of(request),
        }
    }

    /// The values that endpoints must have: those of the route and of the chosen cluster, which count more.
    #[must_use]
    pub fn subset(&self) -> Cow<'t, Subset> {
        const NONE: &Subset = &Subset::new();
        let general = self.forward().map_or(NONE, |forward| &forward.subset);
        match self.weighted.map(|weighted| &weighted.subset).filter(|subset| !subset.is_empty()) {
            None => Cow::Borrowed(general),
            Some(special) if general.is_empty() => Cow::Borrowed(special),
            Some(special) => Cow::Owned(general.iter().chain(special).map(|(k, v)| (k.clone(), v.clone())).collect()),
        }
    }

    /// When it is tried again.
    #[must_use]
    pub fn retry(&self) -> Option<&'t RetryPolicy> {
        self.forward()?.retry.as_ref().or(self.host.retry.as_ref())
    }

    /// Whether it is sent twice.
    #[must_use]
    pub fn hedge(&self) -> Option<Hedge> {
        self.forward()?.hedge.or(self.host.hedge)
    }

    /// Where it is copied to: the most specific list that is not empty.
    #[must_use]
    pub fn mirrors(&self) -> &'t [Mirror] {
        let Some(forward) = self.forward() else { return &[] };
        let levels = [&forward.mirrors, &self.host.mirrors, &self.table.config().mirrors];
        levels.into_iter().find(|mirrors| !mirrors.is_empty()).map_or(&[], Vec::as_slice)
    }

    /// Largest body that is kept to be sent again, in bytes.
    #[must_use]
    pub fn body_buffer(&self) -> Option<u64> {
        self.route.body_buffer.or(self.host.body_buffer)
    }

    /// What is said about a filter.
    #[must_use]
    pub fn filter(&self, name: &str) -> Option<&'t FilterOverride> {
        self.filter_levels(name).next()
    }

    /// What each level says about a filter, the most specific first.
    pub fn filter_levels<'n>(&self, name: &'n str) -> impl Iterator<Item = &'t FilterOverride> + use<'t, 'n> {
        let weighted: Option<&'t FilterOverrides> = self.weighted.map(|weighted| &weighted.filters);
        let levels = [&self.route.filters, &self.host.filters, &self.table.config().filters];
        weighted.into_iter().chain(levels).filter_map(move |filters| filters.get(name))
    }

    /// By what the requests of the route and of its host are counted: see [`HostLimits`](super::HostLimits).
    pub fn rate_limits(&self, host: super::HostLimits) -> impl Iterator<Item = &'t RateLimit> + use<'t> {
        let own: &'t [RateLimit] = self.forward().map_or(&[], |forward| &forward.rate_limits);
        let always = self.forward().is_some_and(|forward| forward.include_host_rate_limits);
        let both = match host {
            super::HostLimits::Include => true,
            super::HostLimits::Override => always || own.is_empty(),
            super::HostLimits::Ignore => always,
        };
        own.iter().chain(if both { self.host.rate_limits.iter() } else { [].iter() })
    }

    /// Edits the headers of the request, before path and authority are rewritten.
    pub fn edit_request(&self, head: &Head<'_>, headers: &mut HeaderMap) {
        self.each_level(|edits| edits.request.edit_request(head, headers));
    }

    /// Edits the headers of the response.
    pub fn edit_response(&self, request: &Request<'_>, headers: &mut HeaderMap) {
        self.each_level(|edits| edits.response.edit_response(request, headers));
    }

    /// Whether the headers of the response are edited.
    pub(crate) fn edits_response(&self) -> bool {
        let mut edits = false;
        self.each_level(|level| edits |= !level.response.is_empty());
        edits
    }

    /// The target the request is sent on with; `None` when it stays.
    #[must_use]
    pub fn target(&self, request: &Request<'_>) -> Option<String> {
        let rewrite = self.forward()?.path.as_ref()?;
        Some(rewrite.target(request, self.matched(request)))
    }

    /// The authority it is sent on with; `None` when it stays. `upstream` is the host name of the endpoint.
    #[must_use]
    pub fn authority<'a>(&self, request: &Request<'a>, upstream: Option<&'a str>) -> Option<Cow<'a, str>>
    where
        't: 'a,
    {
        let of_route = self.forward()?.host.as_ref().and_then(|host| host.authority(request, upstream));
        // What the weighted cluster says comes first and is overwritten, other than its name lets expect, and as Envoy does.
        of_route.or_else(|| Some(Cow::Borrowed(self.weighted?.host.as_ref()?.as_str())))
    }

    /// Where the client is sent, if the route redirects it.
    #[must_use]
    pub fn location(&self, request: &Request<'_>) -> Option<String> {
        match &self.route.action {
            Action::Redirect(redirect) => Some(redirect.location(request, self.matched(request))),
            Action::Forward(_) | Action::Respond(_) | Action::NonForwarding => None,
        }
    }

    fn matched(&self, request: &Request<'_>) -> usize {
        self.route.matcher.path.matched_len(request.path())
    }

    fn each_level(&self, mut edit: impl FnMut(&HeaderEdits)) {
        // A weighted cluster comes first either way, other than the documentation of Envoy says, and as it does.
        if let Some(weighted) = self.weighted {
            edit(&weighted.headers);
        }
        let config = self.table.config();
        let mut levels = [&self.route.headers, &self.host.headers, &config.headers];
        if config.most_specific_headers_win {
            levels.reverse();
        }
        levels.into_iter().for_each(edit);
    }
}

impl Route {
    /// Which of its weighted clusters a request goes to.
    pub(super) fn weighted(&self, request: &Request<'_>, random: u64) -> Option<usize> {
        let Action::Forward(forward) = &self.action else { return None };
        let clusters = forward.weighted()?;
        // The low digits of the number have chosen the route already where it takes a fraction: without this, all requests of
        // such a route could fall into one cluster.
        let chance = random.rotate_left(32);
        let value = match &clusters.choice {
            WeightedChoice::Random => None,
            WeightedChoice::Header(name) => request
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.trim().parse().ok()),
            WeightedChoice::Hash => RequestHash::new(&forward.hash, request, None, random).value,
        };
        clusters.at(value.unwrap_or(chance))
    }
}

impl Forward {
    fn weighted(&self) -> Option<&WeightedClusters> {
        match &self.cluster {
            ClusterChoice::Weighted(clusters) => Some(clusters),
            ClusterChoice::Named(_) | ClusterChoice::Header(_) => None,
        }
    }
}
