//! How an endpoint is chosen: `load_balancing_policy`.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::cluster::v3::load_balancing_policy::Policy as Entry;
use envoy_types::pb::envoy::config::core::v3::{RuntimeDouble, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::load_balancing_policies::cluster_provided::v3::ClusterProvided;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3 as common;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config as locality;
use envoy_types::pb::envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest as WireLeastRequest;
use envoy_types::pb::envoy::extensions::load_balancing_policies::least_request::v3::least_request::SelectionMethod;
use envoy_types::pb::envoy::extensions::load_balancing_policies::maglev::v3::Maglev as WireMaglev;
use envoy_types::pb::envoy::extensions::load_balancing_policies::pick_first::v3::PickFirst;
use envoy_types::pb::envoy::extensions::load_balancing_policies::random::v3::Random;
use envoy_types::pb::envoy::extensions::load_balancing_policies::ring_hash::v3::RingHash as WireRingHash;
use envoy_types::pb::envoy::extensions::load_balancing_policies::ring_hash::v3::ring_hash::HashFunction as WireFunction;
use envoy_types::pb::envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
use envoy_types::pb::envoy::extensions::load_balancing_policies::subset::v3::Subset as WireSubset;
use envoy_types::pb::envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{Any, Duration as Span, UInt32Value, UInt64Value};
use mesh_core::balance::{
    Choice, Cluster, HashFunction, Hashing, LeastRequest, Localities, Maglev, Policy, RingHash, SlowStart,
    SubsetSettings, TableSize,
};

use super::locality::{localities, weighted, wire_localities};
use super::number::percent;
use super::subset::{subsets, wire_subsets};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{any, duration, holds, span, uint32, unpack};

/// A policy, and what it says beside how an endpoint is chosen.
pub(super) struct Chosen {
    pub(super) policy: Policy,
    /// What localities are, if it says so.
    pub(super) localities: Option<Localities>,
    pub(super) subsets: Option<SubsetSettings>,
}

impl Chosen {
    const fn new(policy: Policy, localities: Option<Localities>) -> Self {
        Self { policy, localities, subsets: None }
    }
}

/// Policies may hold policies, no deeper than this (gRPC A52).
const MAX_DEPTH: usize = 16;

/// The first policy of the list that is supported.
pub(super) fn policy(report: &mut Report, list: &cluster::LoadBalancingPolicy, depth: usize) -> Result<Chosen, Error> {
    if depth > MAX_DEPTH {
        return Err(report.invalid("policies", format_args!("policies are nested more than {MAX_DEPTH} deep")));
    }
    let cluster::LoadBalancingPolicy { policies } = list;
    let mut unsupported = None;
    for (index, Entry { typed_extension_config }) in policies.iter().enumerate() {
        let field = format!("policies[{index}].typed_extension_config");
        let TypedExtensionConfig { name: _, typed_config } =
            report.required(&field, typed_extension_config.as_ref())?;
        let config = report.required(&format!("{field}.typed_config"), typed_config.as_ref())?;
        let decoded = report.within(field, |report| typed(report, config, depth))?;
        if let Some(chosen) = decoded {
            return Ok(chosen);
        }
        unsupported.get_or_insert_with(|| config.type_url.clone());
    }
    Err(match unsupported {
        Some(type_url) => Error::UnsupportedType { field: report.at("policies"), type_url },
        None => Error::Missing { field: report.at("policies") },
    })
}

/// A policy; none if the type is not supported.
fn typed(report: &mut Report, config: &Any, depth: usize) -> Result<Option<Chosen>, Error> {
    report.within("typed_config", |report| {
        let chosen = if holds::<PeakEwma>(config) {
            let PeakEwma { decay, locality_lb_config } = unpack(report, "value", config)?;
            let decay = report.required("decay", decay)?;
            let policy = Policy::PeakEwma { decay: duration(report, "decay", &decay)? };
            Chosen::new(policy, localities(report, locality_lb_config.as_ref())?)
        } else if holds::<RoundRobin>(config) {
            let RoundRobin { slow_start_config, locality_lb_config } = unpack(report, "value", config)?;
            let slow_start = slow_start(report, slow_start_config.map(from_common))?;
            Chosen::new(Policy::RoundRobin { slow_start }, localities(report, locality_lb_config.as_ref())?)
        } else if holds::<WireLeastRequest>(config) {
            least_request(report, &unpack(report, "value", config)?)?
        } else if holds::<Random>(config) {
            let Random { locality_lb_config } = unpack(report, "value", config)?;
            Chosen::new(Policy::Random, localities(report, locality_lb_config.as_ref())?)
        } else if holds::<WireRingHash>(config) {
            ring_hash(report, &unpack(report, "value", config)?)?
        } else if holds::<WireMaglev>(config) {
            let message: WireMaglev = unpack(report, "value", config)?;
            let WireMaglev { table_size, consistent_hashing_lb_config, locality_weighted_lb_config } = message;
            let hashing = hashing(report, consistent_hashing_lb_config.as_ref())?;
            let table_size = size_of_table(report, "table_size", table_size)?;
            Chosen::new(Policy::Maglev(Maglev { table_size, hashing }), weighted(locality_weighted_lb_config))
        } else if holds::<PickFirst>(config) {
            let PickFirst { shuffle_address_list } = unpack(report, "value", config)?;
            Chosen::new(Policy::PickFirst { shuffle: shuffle_address_list }, None)
        } else if holds::<ClusterProvided>(config) {
            let ClusterProvided {} = unpack(report, "value", config)?;
            Chosen::new(Policy::ClusterProvided, None)
        } else if holds::<WrrLocality>(config) {
            let WrrLocality { endpoint_picking_policy } = unpack(report, "value", config)?;
            let child = report.required("endpoint_picking_policy", endpoint_picking_policy)?;
            let child = |report: &mut Report| policy(report, &child, depth + 1);
            let chosen = report.within("endpoint_picking_policy", child)?;
            Chosen { localities: Some(Localities::Weighted), ..chosen }
        } else if holds::<WireSubset>(config) {
            let message: WireSubset = unpack(report, "value", config)?;
            let subsets = subsets(report, &message)?;
            let child = report.required("subset_lb_policy", message.subset_lb_policy)?;
            let child = |report: &mut Report| policy(report, &child, depth + 1);
            let chosen = report.within("subset_lb_policy", child)?;
            if subsets.is_some() && chosen.subsets.is_some() {
                return Err(report.invalid("subset_lb_policy", "subsets of subsets are not supported"));
            }
            Chosen { subsets: subsets.or(chosen.subsets), ..chosen }
        } else {
            return Ok(None);
        };
        Ok(Some(chosen))
    })
}

pub(super) fn wire_policy(cluster: &Cluster) -> cluster::LoadBalancingPolicy {
    let Cluster { policy, localities, subsets, .. } = cluster;
    let locality_lb_config = wire_localities(localities);
    let locality_weighted_lb_config =
        (*localities == Localities::Weighted).then_some(locality::LocalityWeightedLbConfig {});
    let least_request = |settings: &LeastRequest| {
        let LeastRequest { choice, bias, slow_start } = settings;
        let (selection_method, choice_count) = match choice {
            Choice::All => (SelectionMethod::FullScan, None),
            Choice::Random(count) => (SelectionMethod::NChoices, Some(uint32(*count))),
        };
        any(&WireLeastRequest {
            choice_count,
            active_request_bias: Some(RuntimeDouble { default_value: *bias, runtime_key: String::new() }),
            slow_start_config: slow_start.as_ref().map(wire_slow_start),
            locality_lb_config,
            selection_method: selection_method.into(),
            ..WireLeastRequest::default()
        })
    };
    let configs = match policy {
        // Those who do not know it take what comes nearest.
        Policy::PeakEwma { decay } => {
            let peak_ewma = PeakEwma { decay: Some(span(*decay)), locality_lb_config };
            vec![any(&peak_ewma), least_request(&LeastRequest::default())]
        }
        Policy::RoundRobin { slow_start } => {
            let slow_start_config = slow_start.as_ref().map(wire_slow_start);
            vec![any(&RoundRobin { slow_start_config, locality_lb_config })]
        }
        Policy::LeastRequest(settings) => vec![least_request(settings)],
        Policy::Random => vec![any(&Random { locality_lb_config })],
        Policy::RingHash(RingHash { function, min_size, max_size, hashing }) => {
            let function = match function {
                HashFunction::XxHash => WireFunction::XxHash,
                HashFunction::Murmur2 => WireFunction::MurmurHash2,
            };
            vec![any(&WireRingHash {
                hash_function: function.into(),
                minimum_ring_size: Some(UInt64Value { value: u64::from(*min_size) }),
                maximum_ring_size: Some(UInt64Value { value: u64::from(*max_size) }),
                consistent_hashing_lb_config: Some(wire_hashing(hashing)),
                locality_weighted_lb_config,
                ..WireRingHash::default()
            })]
        }
        Policy::Maglev(Maglev { table_size, hashing }) => vec![any(&WireMaglev {
            table_size: Some(UInt64Value { value: u64::from(table_size.value()) }),
            consistent_hashing_lb_config: Some(wire_hashing(hashing)),
            locality_weighted_lb_config,
        })],
        Policy::PickFirst { shuffle } => vec![any(&PickFirst { shuffle_address_list: *shuffle })],
        Policy::ClusterProvided => vec![any(&ClusterProvided {})],
    };
    let entry = |config: Any| Entry {
        typed_extension_config: Some(TypedExtensionConfig {
            name: config.type_url.rsplit('.').next().unwrap_or_default().to_owned(),
            typed_config: Some(config),
        }),
    };
    let list = |configs: Vec<Any>| cluster::LoadBalancingPolicy { policies: configs.into_iter().map(entry).collect() };
    match subsets {
        None => list(configs),
        Some(settings) => list(vec![any(&wire_subsets(settings, list(configs)))]),
    }
}

/// The policy of ours that Envoy does not have.
#[derive(Clone, PartialEq, prost::Message)]
struct PeakEwma {
    #[prost(message, optional, tag = "1")]
    decay: Option<Span>,
    #[prost(message, optional, tag = "2")]
    locality_lb_config: Option<common::LocalityLbConfig>,
}

impl prost::Name for PeakEwma {
    const NAME: &'static str = "PeakEwma";
    const PACKAGE: &'static str = "mesh.balance.v1";
}

fn least_request(report: &mut Report, message: &WireLeastRequest) -> Result<Chosen, Error> {
    let WireLeastRequest {
        choice_count,
        active_request_bias,
        slow_start_config,
        locality_lb_config,
        enable_full_scan,
        selection_method,
    } = message;
    let all = match SelectionMethod::try_from(*selection_method) {
        Ok(SelectionMethod::NChoices) => enable_full_scan.is_some_and(|enabled| enabled.value),
        Ok(SelectionMethod::FullScan) => true,
        Err(_) => return Err(report.invalid("selection_method", "unknown method")),
    };
    let choice = if all { Choice::All } else { Choice::Random(choices(report, *choice_count)?) };
    let bias = bias(report, active_request_bias.as_ref())?;
    let slow_start = slow_start(report, slow_start_config.clone().map(from_common))?;
    let policy = Policy::LeastRequest(LeastRequest { choice, bias, slow_start });
    Ok(Chosen::new(policy, localities(report, locality_lb_config.as_ref())?))
}

pub(super) fn choices(report: &Report, count: Option<UInt32Value>) -> Result<u32, Error> {
    match count.map_or(2, |count| count.value) {
        count @ (0 | 1) => Err(report.invalid("choice_count", format_args!("{count} is below 2"))),
        count => Ok(count),
    }
}

pub(super) fn bias(report: &mut Report, bias: Option<&RuntimeDouble>) -> Result<f64, Error> {
    let bias = double(report, "active_request_bias", bias)?.unwrap_or(1.0);
    match bias >= 0.0 {
        true => Ok(bias),
        false => Err(report.invalid("active_request_bias", format_args!("{bias} is below 0"))),
    }
}

fn double(report: &mut Report, field: &str, value: Option<&RuntimeDouble>) -> Result<Option<f64>, Error> {
    let Some(RuntimeDouble { default_value, runtime_key }) = value else { return Ok(None) };
    report.ignored(&format!("{field}.runtime_key"), runtime_key);
    match default_value.is_finite() {
        true => Ok(Some(*default_value)),
        false => Err(report.invalid(field, format_args!("{default_value} is no number"))),
    }
}

fn ring_hash(report: &mut Report, message: &WireRingHash) -> Result<Chosen, Error> {
    let WireRingHash {
        hash_function,
        minimum_ring_size,
        maximum_ring_size,
        use_hostname_for_hashing,
        hash_balance_factor,
        consistent_hashing_lb_config,
        locality_weighted_lb_config,
    } = message;
    let function = match WireFunction::try_from(*hash_function) {
        Ok(WireFunction::DefaultHash | WireFunction::XxHash) => HashFunction::XxHash,
        Ok(WireFunction::MurmurHash2) => HashFunction::Murmur2,
        Err(_) => return Err(report.invalid("hash_function", "unknown function")),
    };
    // The deprecated fields count where the message that replaced them is not there.
    let hashing = match consistent_hashing_lb_config {
        Some(config) => hashing(report, Some(config))?,
        None => Hashing {
            by_hostname: *use_hostname_for_hashing,
            balance_factor: balance_factor(report, "hash_balance_factor", *hash_balance_factor)?,
        },
    };
    let policy = ring(report, function, *minimum_ring_size, *maximum_ring_size, hashing)?;
    Ok(Chosen::new(policy, weighted(*locality_weighted_lb_config)))
}

pub(super) fn ring(
    report: &Report,
    function: HashFunction,
    min: Option<UInt64Value>,
    max: Option<UInt64Value>,
    hashing: Hashing,
) -> Result<Policy, Error> {
    let size = |field: &str, size: Option<UInt64Value>, default: u32| match size.map(|size| size.value) {
        None => Ok(default),
        Some(size) => u32::try_from(size)
            .ok()
            .filter(|size| (1..=RingHash::SIZE_LIMIT).contains(size))
            .ok_or_else(|| report.invalid(field, format_args!("{size} is not from 1 to {}", RingHash::SIZE_LIMIT))),
    };
    let default = RingHash::default();
    let max_size = size("maximum_ring_size", max, default.max_size)?;
    // A greatest size below the default of the least one says enough.
    let min_size = size("minimum_ring_size", min, default.min_size.min(max_size))?;
    if min_size > max_size {
        return Err(report.invalid("minimum_ring_size", format_args!("{min_size} is above the greatest, {max_size}")));
    }
    Ok(Policy::RingHash(RingHash { function, min_size, max_size, hashing }))
}

pub(super) fn size_of_table(report: &Report, field: &str, size: Option<UInt64Value>) -> Result<TableSize, Error> {
    let Some(UInt64Value { value }) = size else { return Ok(TableSize::default()) };
    let size = u32::try_from(value).unwrap_or(u32::MAX);
    TableSize::try_new(size).map_err(|error| report.invalid(field, error))
}

fn hashing(report: &mut Report, config: Option<&common::ConsistentHashingLbConfig>) -> Result<Hashing, Error> {
    let Some(config) = config else { return Ok(Hashing::default()) };
    let common::ConsistentHashingLbConfig { use_hostname_for_hashing, hash_balance_factor, hash_policy } = config;
    report.within("consistent_hashing_lb_config", |report| {
        report.refused("hash_policy", hash_policy)?;
        let balance_factor = balance_factor(report, "hash_balance_factor", *hash_balance_factor)?;
        Ok(Hashing { by_hostname: *use_hostname_for_hashing, balance_factor })
    })
}

fn wire_hashing(hashing: &Hashing) -> common::ConsistentHashingLbConfig {
    let Hashing { by_hostname, balance_factor } = hashing;
    common::ConsistentHashingLbConfig {
        use_hostname_for_hashing: *by_hostname,
        hash_balance_factor: balance_factor.map(uint32),
        hash_policy: Vec::new(),
    }
}

pub(super) fn balance_factor(report: &Report, field: &str, factor: Option<UInt32Value>) -> Result<Option<u32>, Error> {
    match factor.map(|factor| factor.value) {
        Some(factor) if factor < 100 => Err(report.invalid(field, format_args!("{factor} is below 100"))),
        factor => Ok(factor),
    }
}

/// The two messages of slow start hold the same.
pub(super) type SlowStartParts = (Option<Span>, Option<RuntimeDouble>, Option<Percent>);

fn from_common(config: common::SlowStartConfig) -> SlowStartParts {
    let common::SlowStartConfig { slow_start_window, aggression, min_weight_percent } = config;
    (slow_start_window, aggression, min_weight_percent)
}

pub(super) fn slow_start(report: &mut Report, parts: Option<SlowStartParts>) -> Result<Option<SlowStart>, Error> {
    let Some((window, aggression, min_weight)) = parts else { return Ok(None) };
    report.within("slow_start_config", |report| {
        let window = report.required("slow_start_window", window)?;
        let window: Duration = duration(report, "slow_start_window", &window)?;
        let default = SlowStart::new(window);
        let aggression = double(report, "aggression", aggression.as_ref())?.unwrap_or(default.aggression);
        if aggression <= 0.0 {
            return Err(report.invalid("aggression", format_args!("{aggression} is not above 0")));
        }
        let min_weight_percent =
            percent(report, "min_weight_percent", min_weight)?.unwrap_or(default.min_weight_percent);
        // Without a window there is nothing to be slow in.
        Ok((!window.is_zero()).then_some(SlowStart { window, aggression, min_weight_percent }))
    })
}

fn wire_slow_start(slow_start: &SlowStart) -> common::SlowStartConfig {
    let SlowStart { window, aggression, min_weight_percent } = slow_start;
    common::SlowStartConfig {
        slow_start_window: Some(span(*window)),
        aggression: Some(RuntimeDouble { default_value: *aggression, runtime_key: String::new() }),
        min_weight_percent: Some(Percent { value: *min_weight_percent }),
    }
}
