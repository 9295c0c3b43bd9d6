//! What localities are to who chooses: `LocalityLbConfig`, and before it what stands in `CommonLbConfig`.

use std::num::NonZeroU32;

use envoy_types::pb::envoy::config::cluster::v3::cluster::common_lb_config as legacy;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3 as common;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config as locality;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config::zone_aware_lb_config as zone;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::UInt64Value;
use mesh_core::balance::{Localities, LocalityBasis, OnPanic, ZoneAware};

use super::number::percent;
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::uint32;

pub(super) fn weighted(config: Option<locality::LocalityWeightedLbConfig>) -> Option<Localities> {
    config.map(|locality::LocalityWeightedLbConfig {}| Localities::Weighted)
}

pub(super) fn localities(
    report: &mut Report,
    config: Option<&common::LocalityLbConfig>,
) -> Result<Option<Localities>, Error> {
    let specifier =
        config.and_then(|common::LocalityLbConfig { locality_config_specifier }| locality_config_specifier.as_ref());
    match specifier {
        None => Ok(None),
        Some(locality::LocalityConfigSpecifier::LocalityWeightedLbConfig(config)) => Ok(weighted(Some(*config))),
        Some(locality::LocalityConfigSpecifier::ZoneAwareLbConfig(config)) => {
            let settings =
                report.within("locality_lb_config.zone_aware_lb_config", |report| zone_aware(report, config))?;
            Ok(Some(Localities::ZoneAware(settings)))
        }
    }
}

#[expect(deprecated, reason = "older control planes send the field that was replaced")]
fn zone_aware(report: &Report, config: &locality::ZoneAwareLbConfig) -> Result<ZoneAware, Error> {
    let locality::ZoneAwareLbConfig {
        routing_enabled,
        min_cluster_size,
        fail_traffic_on_panic,
        force_locality_direct_routing,
        force_local_zone,
        locality_basis,
    } = config;
    let basis = match zone::LocalityBasis::try_from(*locality_basis) {
        Ok(zone::LocalityBasis::HealthyHostsNum) => LocalityBasis::Endpoints,
        Ok(zone::LocalityBasis::HealthyHostsWeight) => LocalityBasis::Weight,
        Err(_) => return Err(report.invalid("locality_basis", format_args!("unknown basis {locality_basis}"))),
    };
    let least = |zone::ForceLocalZone { min_size }: &zone::ForceLocalZone| {
        min_size.and_then(|size| NonZeroU32::new(size.value)).unwrap_or(NonZeroU32::MIN)
    };
    // The deprecated field counts where the message that replaced it is not there.
    let force_local =
        force_local_zone.as_ref().map(least).or_else(|| force_locality_direct_routing.then_some(NonZeroU32::MIN));
    let parts = (*routing_enabled, *min_cluster_size, *fail_traffic_on_panic);
    Ok(ZoneAware { force_local, basis, ..from_parts(report, parts)? })
}

/// Whether the weights of localities count, as it stands beside `lb_policy`.
pub(super) fn legacy_localities(
    report: &mut Report,
    specifier: Option<&legacy::LocalityConfigSpecifier>,
) -> Result<Option<Localities>, Error> {
    match specifier {
        None => Ok(None),
        Some(legacy::LocalityConfigSpecifier::LocalityWeightedLbConfig(legacy::LocalityWeightedLbConfig {})) => {
            Ok(Some(Localities::Weighted))
        }
        Some(legacy::LocalityConfigSpecifier::ZoneAwareLbConfig(config)) => {
            let legacy::ZoneAwareLbConfig { routing_enabled, min_cluster_size, fail_traffic_on_panic } = config;
            let parts = (*routing_enabled, *min_cluster_size, *fail_traffic_on_panic);
            let settings = report.within("zone_aware_lb_config", |report| from_parts(report, parts))?;
            Ok(Some(Localities::ZoneAware(settings)))
        }
    }
}

/// What both messages of zone-aware routing hold.
type ZoneParts = (Option<Percent>, Option<UInt64Value>, bool);

fn from_parts(report: &Report, (enabled, min_cluster_size, fail): ZoneParts) -> Result<ZoneAware, Error> {
    let default = ZoneAware::default();
    Ok(ZoneAware {
        on_panic: if fail { OnPanic::Fail } else { OnPanic::UseAll },
        // From 0 to 100, rounded as in Envoy.
        percent: percent(report, "routing_enabled", enabled)?.map_or(default.percent, |percent| percent.round() as u32),
        min_cluster_size: min_cluster_size.map_or(default.min_cluster_size, |size| size.value),
        ..default
    })
}

fn parts(settings: &ZoneAware) -> ZoneParts {
    let ZoneAware { on_panic, percent, min_cluster_size, .. } = settings;
    let enabled = Percent { value: f64::from(*percent) };
    (Some(enabled), Some(UInt64Value { value: *min_cluster_size }), *on_panic == OnPanic::Fail)
}

pub(super) fn wire_localities(localities: &Localities) -> Option<common::LocalityLbConfig> {
    let specifier = match localities {
        Localities::ZoneAware(settings) if *settings == ZoneAware::default() => return None,
        Localities::ZoneAware(settings) => {
            let (routing_enabled, min_cluster_size, fail_traffic_on_panic) = parts(settings);
            let basis = match settings.basis {
                LocalityBasis::Endpoints => zone::LocalityBasis::HealthyHostsNum,
                LocalityBasis::Weight => zone::LocalityBasis::HealthyHostsWeight,
            };
            let force = |least: NonZeroU32| zone::ForceLocalZone { min_size: Some(uint32(least.get())) };
            locality::LocalityConfigSpecifier::ZoneAwareLbConfig(locality::ZoneAwareLbConfig {
                routing_enabled,
                min_cluster_size,
                fail_traffic_on_panic,
                force_local_zone: settings.force_local.map(force),
                locality_basis: basis.into(),
                ..locality::ZoneAwareLbConfig::default()
            })
        }
        Localities::Weighted => {
            locality::LocalityConfigSpecifier::LocalityWeightedLbConfig(locality::LocalityWeightedLbConfig {})
        }
    };
    Some(common::LocalityLbConfig { locality_config_specifier: Some(specifier) })
}
