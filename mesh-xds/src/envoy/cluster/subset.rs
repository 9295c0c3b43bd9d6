//! `Subset`, the policy, and before it `LbSubsetConfig` ↔ [`SubsetSettings`].

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3::LoadBalancingPolicy;
use envoy_types::pb::envoy::config::cluster::v3::cluster::LbSubsetConfig;
use envoy_types::pb::envoy::config::cluster::v3::cluster::lb_subset_config::LbSubsetSelector as LegacySelector;
use envoy_types::pb::envoy::extensions::load_balancing_policies::subset::v3::Subset as WireSubset;
use envoy_types::pb::envoy::extensions::load_balancing_policies::subset::v3::subset::lb_subset_selector::LbSubsetSelectorFallbackPolicy as WireSelectorFallback;
use envoy_types::pb::envoy::extensions::load_balancing_policies::subset::v3::subset::{
    LbSubsetFallbackPolicy as WireFallback, LbSubsetSelector as WireSelector,
};
use mesh_core::balance::{LocalityWeights, SelectorFallback, SubsetFallback, SubsetSelector, SubsetSettings};
use mesh_core::name::Text;
use mesh_core::route::Subset;

use crate::envoy::error::{Error, Report};
use crate::envoy::metadata;

/// The settings of the policy. The policy inside of the subsets is read by who asks.
pub(super) fn subsets(report: &mut Report, message: &WireSubset) -> Result<Option<SubsetSettings>, Error> {
    let WireSubset {
        fallback_policy,
        default_subset,
        subset_selectors,
        allow_redundant_keys,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback_policy,
        subset_lb_policy: _,
    } = message;
    if subset_selectors.is_empty() {
        // As in Envoy: nobody can ask for a subset, so there are none.
        return Ok(None);
    }
    // Routes carry no lists of values to try.
    report.refused("metadata_fallback_policy", metadata_fallback_policy)?;
    let fallback = match WireFallback::try_from(*fallback_policy) {
        Ok(WireFallback::NoFallback) => SubsetFallback::None,
        Ok(WireFallback::AnyEndpoint) => SubsetFallback::Any,
        Ok(WireFallback::DefaultSubset) => SubsetFallback::Default,
        Err(_) => return Err(unknown_policy(report, *fallback_policy)),
    };
    let default = default_subset.as_ref();
    let default = default.map(|fields| metadata::subset(report, "default_subset", fields)).transpose()?;
    let locality_weights = match (locality_weight_aware, scale_locality_weight) {
        (true, true) => LocalityWeights::Scaled,
        (true, false) => LocalityWeights::Kept,
        (false, scale) => {
            report.ignored("scale_locality_weight", scale);
            LocalityWeights::Ignored
        }
    };
    let settings = SubsetSettings {
        selectors: report.each("subset_selectors", subset_selectors, selector)?,
        fallback,
        default: default.unwrap_or_default(),
        locality_weights,
        panic_any: *panic_mode_any,
        list_as_any: *list_as_any,
        redundant_keys: *allow_redundant_keys,
    };
    settings.validate().map_err(|error| report.invalid("subset_selectors", error))?;
    Ok(Some(settings))
}

/// The settings beside `lb_policy`. They are those of the policy but for one; the numbers are the same.
pub(super) fn legacy_subsets(report: &mut Report, config: &LbSubsetConfig) -> Result<Option<SubsetSettings>, Error> {
    let LbSubsetConfig {
        fallback_policy,
        default_subset,
        subset_selectors,
        locality_weight_aware,
        scale_locality_weight,
        panic_mode_any,
        list_as_any,
        metadata_fallback_policy,
    } = config;
    let selector = |selector: &LegacySelector| {
        let LegacySelector { keys, single_host_per_subset, fallback_policy, fallback_keys_subset } = selector.clone();
        WireSelector { keys, single_host_per_subset, fallback_policy, fallback_keys_subset }
    };
    let message = WireSubset {
        fallback_policy: *fallback_policy,
        default_subset: default_subset.clone(),
        subset_selectors: subset_selectors.iter().map(selector).collect(),
        allow_redundant_keys: false,
        locality_weight_aware: *locality_weight_aware,
        scale_locality_weight: *scale_locality_weight,
        panic_mode_any: *panic_mode_any,
        list_as_any: *list_as_any,
        metadata_fallback_policy: *metadata_fallback_policy,
        subset_lb_policy: None,
    };
    subsets(report, &message)
}

fn selector(report: &mut Report, message: &WireSelector) -> Result<SubsetSelector, Error> {
    let WireSelector { keys, single_host_per_subset, fallback_policy, fallback_keys_subset } = message;
    let set = |keys: &[String]| keys.iter().map(|key| Text::from(key.as_str())).collect::<BTreeSet<_>>();
    let fallback = match WireSelectorFallback::try_from(*fallback_policy) {
        Ok(WireSelectorFallback::NotDefined) => None,
        Ok(WireSelectorFallback::NoFallback) => Some(SelectorFallback::Policy(SubsetFallback::None)),
        Ok(WireSelectorFallback::AnyEndpoint) => Some(SelectorFallback::Policy(SubsetFallback::Any)),
        Ok(WireSelectorFallback::DefaultSubset) => Some(SelectorFallback::Policy(SubsetFallback::Default)),
        Ok(WireSelectorFallback::KeysSubset) => Some(SelectorFallback::Keys(set(fallback_keys_subset))),
        Err(_) => return Err(unknown_policy(report, *fallback_policy)),
    };
    if !matches!(fallback, Some(SelectorFallback::Keys(_))) {
        report.ignored("fallback_keys_subset", fallback_keys_subset);
    }
    Ok(SubsetSelector { keys: set(keys), single_endpoint: *single_host_per_subset, fallback })
}

fn unknown_policy(report: &Report, policy: i32) -> Error {
    report.invalid("fallback_policy", format_args!("unknown policy {policy}"))
}

pub(super) fn wire_subsets(settings: &SubsetSettings, child: LoadBalancingPolicy) -> WireSubset {
    let SubsetSettings { selectors, fallback, default, locality_weights, panic_any, list_as_any, redundant_keys } =
        settings;
    let fallback = match fallback {
        SubsetFallback::None => WireFallback::NoFallback,
        SubsetFallback::Any => WireFallback::AnyEndpoint,
        SubsetFallback::Default => WireFallback::DefaultSubset,
    };
    WireSubset {
        fallback_policy: fallback.into(),
        default_subset: Some(default).filter(|default| **default != Subset::new()).map(metadata::wire_subset),
        subset_selectors: selectors.iter().map(wire_selector).collect(),
        allow_redundant_keys: *redundant_keys,
        locality_weight_aware: *locality_weights != LocalityWeights::Ignored,
        scale_locality_weight: *locality_weights == LocalityWeights::Scaled,
        panic_mode_any: *panic_any,
        list_as_any: *list_as_any,
        subset_lb_policy: Some(child),
        ..WireSubset::default()
    }
}

fn wire_selector(selector: &SubsetSelector) -> WireSelector {
    let SubsetSelector { keys, single_endpoint, fallback } = selector;
    let strings = |keys: &BTreeSet<Text>| keys.iter().map(Text::to_string).collect();
    let (fallback, fewer) = match fallback {
        None => (WireSelectorFallback::NotDefined, Vec::new()),
        Some(SelectorFallback::Policy(SubsetFallback::None)) => (WireSelectorFallback::NoFallback, Vec::new()),
        Some(SelectorFallback::Policy(SubsetFallback::Any)) => (WireSelectorFallback::AnyEndpoint, Vec::new()),
        Some(SelectorFallback::Policy(SubsetFallback::Default)) => (WireSelectorFallback::DefaultSubset, Vec::new()),
        Some(SelectorFallback::Keys(keys)) => (WireSelectorFallback::KeysSubset, strings(keys)),
    };
    WireSelector {
        keys: strings(keys),
        single_host_per_subset: *single_endpoint,
        fallback_policy: fallback.into(),
        fallback_keys_subset: fewer,
    }
}
