//! What DestinationRules say of a host, its ports and its subsets.

use std::num::NonZeroU32;
use std::time::Duration;

use mesh_core::balance::{
    Cluster, LeastRequest, Maglev, OutlierSettings, Policy, RetryLimit, RingHash, SlowStart, TableSize, Thresholds,
};
use mesh_core::route::{CookieKey, HashKey, HashPolicy};
use mesh_core::service::Service;

use super::host::{fit, is_exported};
use crate::resource::text::duration;
use crate::resource::{
    ClientTls, ConnectionPool, ConsistentHash, DestinationRule, LoadBalancer, OutlierDetection, RetryBudget,
    TrafficPolicy,
};
use crate::translate::facts::Reader;

/// How long a connection may take to be made where nothing else is said.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The rule for a host, as it is seen in a namespace: of this one, else of the service's, else of the root namespace. In one
/// namespace the exact host counts before wildcards, the longer wildcard before the shorter one, the older rule before the
/// younger one.
pub(super) fn rule<'a>(reader: &Reader<'a>, own: &str, service: &Service) -> Option<&'a DestinationRule> {
    let place = reader.place();
    [own, service.key.namespace.as_str(), &place.root_namespace].into_iter().find_map(|namespace| {
        let candidates = reader.destination_rules(namespace).into_iter().filter_map(|(key, rule)| {
            let counts = is_exported(&rule.spec.export_to, namespace, own) && rule.spec.workload_selector.is_none();
            let fit = counts.then(|| fit(&rule.spec.host, namespace, service, &place.cluster_domain)).flatten()?;
            Some((std::cmp::Reverse(fit), rule.metadata.created(), key, rule))
        });
        candidates.min_by_key(|(fit, age, key, _)| (*fit, *age, *key)).map(|(.., rule)| rule)
    })
}

/// What holds for one port, and one subset or none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Settings<'a> {
    pub(super) load_balancer: Option<&'a LoadBalancer>,
    pool: Option<&'a ConnectionPool>,
    pub(super) outliers: Option<&'a OutlierDetection>,
    budget: Option<&'a RetryBudget>,
    pub(super) tls: Option<&'a ClientTls>,
}

impl<'a> Settings<'a> {
    pub(super) fn of(rule: Option<&'a DestinationRule>, port: u16, subset: Option<&str>) -> Self {
        let Some(spec) = rule.map(|rule| &rule.spec) else { return Self::default() };
        let of_host = spec.traffic_policy.as_ref().map_or_else(Self::default, |policy| Self::read(policy, port));
        let subset = spec.subsets.iter().find(|one| Some(one.name.as_str()) == subset);
        match subset.and_then(|subset| subset.traffic_policy.as_ref()) {
            Some(policy) => Self::read(policy, port).or(of_host),
            None => of_host,
        }
    }

    /// What holds for a port takes the place of all that holds for the host.
    fn read(policy: &'a TrafficPolicy, port: u16) -> Self {
        let budget = policy.retry_budget.as_ref();
        match policy.port_level_settings.iter().find(|of_port| of_port.port.number == port) {
            Some(of_port) => Self {
                load_balancer: of_port.load_balancer.as_ref(),
                pool: of_port.connection_pool.as_ref(),
                outliers: of_port.outlier_detection.as_ref(),
                budget,
                tls: of_port.tls.as_ref(),
            },
            None => Self {
                load_balancer: policy.load_balancer.as_ref(),
                pool: policy.connection_pool.as_ref(),
                outliers: policy.outlier_detection.as_ref(),
                budget,
                tls: policy.tls.as_ref(),
            },
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            load_balancer: self.load_balancer.or(other.load_balancer),
            pool: self.pool.or(other.pool),
            outliers: self.outliers.or(other.outliers),
            budget: self.budget.or(other.budget),
            tls: self.tls.or(other.tls),
        }
    }

    /// What the requests to a host are hashed by.
    pub(super) fn hash(&self) -> Vec<HashPolicy> {
        let Some(hash) = self.load_balancer.and_then(|balancer| balancer.consistent_hash.as_ref()) else {
            return Vec::new();
        };
        hash_key(hash).map(|key| HashPolicy { key, terminal: false }).into_iter().collect()
    }

    /// Whether TCP connections are hashed by the client's address.
    pub(super) fn hashes_source(&self) -> bool {
        self.load_balancer.and_then(|balancer| balancer.consistent_hash.as_ref()).is_some_and(|hash| hash.use_source_ip)
    }

    /// How long a TCP connection may be silent, and how long it may last.
    pub(super) fn tcp_times(&self) -> (Option<Duration>, Option<Duration>) {
        let tcp = self.pool.and_then(|pool| pool.tcp.as_ref());
        let read = |text: Option<&String>| text.and_then(|text| duration(text)).filter(|time| !time.is_zero());
        let idle = tcp.and_then(|tcp| tcp.idle_timeout.as_ref());
        (read(idle), read(tcp.and_then(|tcp| tcp.max_connection_duration.as_ref())))
    }

    /// Whether the client's protocol is spoken to the host, or HTTP/2 whatever is declared.
    pub(super) fn http(&self) -> (bool, bool) {
        let http = self.pool.and_then(|pool| pool.http.as_ref());
        let upgrades = http.and_then(|http| http.h2_upgrade_policy.as_deref()) == Some("UPGRADE");
        (http.is_some_and(|http| http.use_client_protocol), upgrades)
    }

    /// Fills in what they say.
    pub(super) fn apply(&self, cluster: &mut Cluster) {
        cluster.connect_timeout = CONNECT_TIMEOUT;
        // Without a least share of healthy endpoints, Istio does not send to unhealthy ones.
        cluster.panic_threshold = 0;
        cluster.policy = self.policy();
        cluster.circuit.default = self.thresholds();
        cluster.circuit.high = cluster.circuit.default;
        if let Some(tcp) = self.pool.and_then(|pool| pool.tcp.as_ref()) {
            let timeout = tcp.connect_timeout.as_deref().and_then(duration).filter(|timeout| !timeout.is_zero());
            cluster.connect_timeout = timeout.unwrap_or(CONNECT_TIMEOUT);
        }
        if let Some(http) = self.pool.and_then(|pool| pool.http.as_ref()) {
            cluster.max_requests_per_connection = http.max_requests_per_connection.and_then(NonZeroU32::new);
        }
        if let Some(outliers) = self.outliers {
            cluster.outlier = Some(outlier_settings(outliers));
            cluster.panic_threshold = outliers.min_health_percent.unwrap_or(0);
        }
    }

    fn thresholds(&self) -> Thresholds {
        let tcp = self.pool.and_then(|pool| pool.tcp.as_ref());
        let http = self.pool.and_then(|pool| pool.http.as_ref());
        let count = http.and_then(|http| http.max_retries).unwrap_or(u32::MAX);
        Thresholds {
            max_connections: tcp.and_then(|tcp| tcp.max_connections).unwrap_or(u32::MAX),
            max_pending_requests: http.and_then(|http| http.http1_max_pending_requests).unwrap_or(u32::MAX),
            max_requests: http.and_then(|http| http.http2_max_requests).unwrap_or(u32::MAX),
            retries: match self.budget {
                Some(budget) => RetryLimit::Budget {
                    percent: budget.percent.unwrap_or(20.0),
                    min_concurrency: budget.min_retry_concurrency.unwrap_or(3),
                    interval: Duration::ZERO,
                },
                None => RetryLimit::Count(count),
            },
        }
    }

    fn policy(&self) -> Policy {
        let Some(balancer) = self.load_balancer else { return Policy::PEAK_EWMA };
        let slow_start = slow_start(balancer);
        if let Some(hash) = &balancer.consistent_hash {
            return hashing_policy(hash);
        }
        match balancer.simple.as_deref() {
            Some("ROUND_ROBIN") => Policy::RoundRobin { slow_start },
            Some("RANDOM") => Policy::Random,
            Some("LEAST_REQUEST" | "LEAST_CONN") => {
                Policy::LeastRequest(LeastRequest { slow_start, ..LeastRequest::default() })
            }
            // Only these warm newcomers up.
            _ if slow_start.is_some() => Policy::LeastRequest(LeastRequest { slow_start, ..LeastRequest::default() }),
            _ => Policy::PEAK_EWMA,
        }
    }
}

fn slow_start(balancer: &LoadBalancer) -> Option<SlowStart> {
    if let Some(warmup) = &balancer.warmup {
        let mut start = SlowStart::new(duration(&warmup.duration).filter(|window| !window.is_zero())?);
        start.aggression = warmup.aggression.unwrap_or(start.aggression);
        start.min_weight_percent = warmup.minimum_percent.unwrap_or(start.min_weight_percent);
        return Some(start);
    }
    let window = balancer.warmup_duration_secs.as_deref().and_then(duration)?;
    (!window.is_zero()).then(|| SlowStart::new(window))
}

fn hashing_policy(hash: &ConsistentHash) -> Policy {
    if let Some(maglev) = hash.maglev {
        let size = maglev.table_size.and_then(|size| TableSize::try_new(u32::try_from(size).ok()?).ok());
        return Policy::Maglev(Maglev { table_size: size.unwrap_or_default(), ..Maglev::default() });
    }
    let size = hash.ring_hash.and_then(|ring| ring.minimum_ring_size).or(hash.minimum_ring_size);
    let default = RingHash::default();
    let min_size = size.and_then(|size| u32::try_from(size).ok()).unwrap_or(default.min_size);
    Policy::RingHash(RingHash { min_size: min_size.min(RingHash::SIZE_LIMIT), ..default })
}

fn hash_key(hash: &ConsistentHash) -> Option<HashKey> {
    if let Some(name) = &hash.http_header_name {
        return Some(HashKey::Header { name: name.parse().ok()?, rewrite: None });
    }
    if let Some(cookie) = &hash.http_cookie {
        return Some(HashKey::Cookie(CookieKey {
            name: cookie.name.as_str().into(),
            lifetime: cookie.ttl.as_deref().and_then(duration),
            path: cookie.path.as_deref().unwrap_or_default().into(),
            attributes: Vec::new(),
        }));
    }
    match &hash.http_query_parameter_name {
        Some(name) => Some(HashKey::Query(name.as_str().into())),
        None => hash.use_source_ip.then_some(HashKey::Source),
    }
}

/// By what is said; of what is not, as Istio has it: only what answers in a row counts, and rates of success do not.
fn outlier_settings(source: &OutlierDetection) -> OutlierSettings {
    let default = OutlierSettings::default();
    let time = |text: &Option<String>, default: Duration| {
        text.as_deref().and_then(duration).filter(|time| !time.is_zero()).unwrap_or(default)
    };
    let base_ejection_time = time(&source.base_ejection_time, default.base_ejection_time);
    let gateway = source.consecutive_gateway_errors.unwrap_or(0);
    OutlierSettings {
        interval: time(&source.interval, default.interval),
        base_ejection_time,
        max_ejection_time: default.max_ejection_time.max(base_ejection_time),
        max_ejection_percent: source.max_ejection_percent.unwrap_or(default.max_ejection_percent),
        split_local_origin: source.split_external_local_origin_errors,
        consecutive_5xx: source.consecutive_5xx_errors.unwrap_or(default.consecutive_5xx),
        enforcing_consecutive_5xx: if source.consecutive_5xx_errors == Some(0) { 0 } else { 100 },
        consecutive_gateway_failure: if gateway > 0 { gateway } else { default.consecutive_gateway_failure },
        enforcing_consecutive_gateway_failure: if gateway > 0 { 100 } else { 0 },
        consecutive_local_origin_failure: source
            .consecutive_local_origin_failures
            .unwrap_or(default.consecutive_local_origin_failure),
        enforcing_success_rate: 0,
        enforcing_local_origin_success_rate: 0,
        ..default
    }
}
