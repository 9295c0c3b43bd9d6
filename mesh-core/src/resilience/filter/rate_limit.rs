use std::fmt;
use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::{HeaderName, StatusCode, request, response};
use tokio::time::Instant;

use super::attached::Attached;
use crate::companion::rate_limit::{Descriptor, Facts, descriptor};
use crate::filter::{Answer, Connection, Exchange, Filter, Flag, Step};
use crate::limit::{Bucket, Taken};
use crate::name::Text;
use crate::route::{FilterOverride, Fraction, LocalDescriptor, LocalRateLimit, RateLimit};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// gRPC's statuses for what is too many.
const RESOURCE_EXHAUSTED: u32 = 8;
const UNAVAILABLE: u32 = 14;

/// The filter of [`LocalRateLimit`]. A level of a route table that has settings of its own has buckets of its own.
///
/// ```
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::{Empty, Full};
/// use mesh_core::filter::FilterLayer;
/// use mesh_core::limit::TokenBucket;
/// use mesh_core::resilience::LocalRateLimiting;
/// use mesh_core::route::LocalRateLimit;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limit = LocalRateLimit::new(TokenBucket::new(1, Duration::from_secs(60)));
/// let shop = service_fn(async |_| Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::new()))));
/// let service = FilterLayer::new(LocalRateLimiting::new(limit, "edge")).layer(shop);
/// let mut statuses = Vec::new();
/// for _ in 0..2 {
///     statuses.push(service.clone().oneshot(Request::new(Empty::<Bytes>::new())).await?.status());
/// }
/// assert_eq!(statuses, [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS]);
/// # Ok(())
/// # }
/// ```
pub struct LocalRateLimiting {
    own: Limiter,
    source_cluster: Text,
    /// Those of route tables, by where their settings are. They go when the table goes.
    of_levels: Attached<LocalRateLimit, Limiter>,
}

impl LocalRateLimiting {
    /// These limits, in a proxy of this cluster, unless a route has others.
    #[must_use]
    pub fn new(settings: LocalRateLimit, source_cluster: impl Into<Text>) -> Self {
        let own = Limiter::new(settings);
        Self { own, source_cluster: source_cluster.into(), of_levels: Attached::new() }
    }

    fn of_level(&self, settings: &Arc<LocalRateLimit>) -> Arc<Limiter> {
        // With a copy of the settings: who kept those of the route table alive would never know that they are gone.
        self.of_levels.of(settings, || Limiter::new(LocalRateLimit::clone(settings)))
    }
}

impl fmt::Debug for LocalRateLimiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRateLimiting").field("settings", &self.own.settings).finish_non_exhaustive()
    }
}

/// What the client is told of its limit.
#[derive(Debug, Clone, Copy)]
struct Told {
    limit: u32,
    taken: Taken,
}

impl Filter for LocalRateLimiting {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        let of_level = match exchange.overriding() {
            Some(FilterOverride::LocalRateLimit(own)) => Some(self.of_level(own.settings())),
            _ => None,
        };
        of_level.as_deref().unwrap_or(&self.own).count(head, exchange, self.source_cluster.as_str())
    }

    fn on_response(&self, head: &mut response::Parts, exchange: &mut Exchange) {
        if let Some(told) = exchange.take_kept::<Told>() {
            tell(&mut head.headers, told);
        }
    }
}

fn tell(headers: &mut http::HeaderMap, Told { limit, taken }: Told) {
    headers.insert(LIMIT, limit.into());
    headers.insert(REMAINING, taken.left.into());
    headers.insert(RESET, seconds(taken).into());
}

/// Until there are more, rounded up.
fn seconds(taken: Taken) -> u64 {
    taken.refill.as_secs() + u64::from(taken.refill.subsec_nanos() > 0)
}

/// Settings and the buckets they speak of.
struct Limiter {
    settings: LocalRateLimit,
    shared: Option<Arc<Buckets>>,
    by_connection: Attached<Connection, Buckets>,
}

struct Buckets {
    all: Option<Bucket>,
    by_descriptor: Vec<Bucket>,
}

impl Limiter {
    fn new(settings: LocalRateLimit) -> Self {
        let shared = (!settings.per_connection).then(|| Arc::new(Buckets::new(&settings)));
        Self { settings, shared, by_connection: Attached::new() }
    }

    fn count(&self, head: &mut request::Parts, exchange: &mut Exchange, source_cluster: &str) -> Step {
        let settings = &self.settings;
        let takes = |part: Fraction| part.takes(fastrand::u64(..));
        if !takes(settings.enabled) {
            return Step::Next;
        }
        let buckets = match &self.shared {
            Some(shared) => Arc::clone(shared),
            None => self.by_connection.of(&exchange.connection, || Buckets::new(settings)),
        };
        let matching = self.matching(head, exchange, source_cluster);
        let Some((allowed, told)) = buckets.take(settings, matching) else { return Step::Next };
        if allowed || !takes(settings.enforced) {
            if !allowed && !settings.unenforced.is_empty() {
                let came = head.clone();
                settings.unenforced.edit_request(&exchange.request(&came).head, &mut head.headers);
            }
            if settings.headers {
                exchange.keep(told);
            }
            return Step::Next;
        }
        let answer = Answer::new(settings.status, "local_rate_limited", "request_rate_limited");
        let grpc_status = Some(if settings.resource_exhausted { RESOURCE_EXHAUSTED } else { UNAVAILABLE });
        let mut answer = Answer { grpc_status, ..answer.flagged(Flag::RateLimited) };
        settings.response.edit_response(&exchange.request(head), &mut answer.headers);
        if settings.headers {
            tell(&mut answer.headers, told);
        }
        if settings.retry_after && settings.status == StatusCode::TOO_MANY_REQUESTS {
            answer.headers.entry(RETRY_AFTER).or_insert_with(|| seconds(told.taken).max(1).into());
        }
        Step::Answer(answer)
    }

    /// The first descriptor of the request that has a bucket of its own.
    fn matching(&self, head: &request::Parts, exchange: &Exchange, source_cluster: &str) -> Option<usize> {
        let settings = &self.settings;
        if settings.descriptors.is_empty() {
            return None;
        }
        let request = exchange.request(head);
        let selected = exchange.selection().map(|selection| selection.selected());
        let facts = Facts {
            request,
            metadata: &exchange.metadata,
            source_cluster,
            destination_cluster: selected.as_ref().and_then(|selected| selected.cluster(&request)),
        };
        let bucket = |limit: &RateLimit| {
            let Descriptor { entries, .. } = descriptor(limit, &facts)?;
            settings.descriptors.iter().position(|known| known.entries == entries)
        };
        if !settings.limits.is_empty() {
            return settings.limits.iter().find_map(bucket);
        }
        let limits = selected.into_iter().flat_map(|selected| selected.rate_limits(settings.host));
        limits.filter(|limit| limit.stage == settings.stage).find_map(bucket)
    }
}

impl Buckets {
    fn new(settings: &LocalRateLimit) -> Self {
        let now = Instant::now().into_std();
        let by_descriptor = settings.descriptors.iter().map(|known| Bucket::new(known.bucket, now)).collect();
        Self { all: settings.bucket.map(|bucket| Bucket::new(bucket, now)), by_descriptor }
    }

    /// Whether a request may pass, and what is to be told of it; `None` if it is not counted.
    fn take(&self, settings: &LocalRateLimit, matching: Option<usize>) -> Option<(bool, Told)> {
        let now = Instant::now().into_std();
        let take = |bucket: &Bucket| Told { limit: bucket.settings().max_tokens, taken: bucket.take(now) };
        let own = matching.and_then(|at| Some((self.by_descriptor.get(at)?, settings.descriptors.get(at)?)));
        let own = own.map(|(bucket, LocalDescriptor { shadow, .. })| (take(bucket), *shadow));
        if let Some((told, false)) = own
            && !told.taken.allowed
        {
            return Some((false, told));
        }
        let all = self.all.as_ref().filter(|_| own.is_none() || settings.always_takes).map(take);
        match (own, all) {
            (_, Some(all)) if !all.taken.allowed => Some((false, all)),
            (Some((told, _)), _) => Some((true, told)),
            (None, all) => all.map(|all| (true, all)),
        }
    }
}
