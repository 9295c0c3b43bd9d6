use envoy_types::pb::envoy::extensions::filters::http::rbac::v3 as http;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3 as network;
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::rbac::EnforcementType;
use mesh_core::authz::rbac::RbacFilter;
use mesh_core::listener::{Enforcement, NetworkRbac};

use super::policy::{Layer, optional_rbac, wire_rbac};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{optional_duration, span};

/// Statistics of access control on connections; Envoy wants a name for them.
const STATISTICS: &str = "rbac";

/// Access control on requests.
pub(in crate::envoy) fn http_rbac(report: &mut Report, wire: &http::Rbac) -> Result<RbacFilter, Error> {
    let http::Rbac {
        rules,
        rules_stat_prefix,
        matcher,
        shadow_rules,
        shadow_matcher,
        shadow_rules_stat_prefix,
        track_per_rule_stats,
    } = wire;
    report.refused("matcher", matcher)?;
    report.refused("shadow_matcher", shadow_matcher)?;
    report.ignored("rules_stat_prefix", rules_stat_prefix);
    report.ignored("track_per_rule_stats", track_per_rule_stats);
    Ok(RbacFilter {
        rules: optional_rbac(report, "rules", rules.as_ref(), Layer::Request)?,
        shadow: optional_rbac(report, "shadow_rules", shadow_rules.as_ref(), Layer::Request)?,
        shadow_prefix: shadow_rules_stat_prefix.as_str().into(),
    })
}

pub(in crate::envoy) fn wire_http_rbac(filter: &RbacFilter) -> http::Rbac {
    let RbacFilter { rules, shadow, shadow_prefix } = filter;
    http::Rbac {
        rules: rules.as_ref().map(wire_rbac),
        shadow_rules: shadow.as_ref().map(wire_rbac),
        shadow_rules_stat_prefix: shadow_prefix.to_string(),
        ..http::Rbac::default()
    }
}

/// What a route says instead; `None` when it wants no access control.
pub(in crate::envoy) fn rbac_per_route(
    report: &mut Report,
    wire: &http::RbacPerRoute,
) -> Result<Option<RbacFilter>, Error> {
    let http::RbacPerRoute { rbac } = wire;
    rbac.as_ref().map(|rbac| report.within("rbac", |report| http_rbac(report, rbac))).transpose()
}

pub(in crate::envoy) fn wire_rbac_per_route(filter: &RbacFilter) -> http::RbacPerRoute {
    http::RbacPerRoute { rbac: Some(wire_http_rbac(filter)) }
}

/// Access control on connections.
pub(in crate::envoy) fn network_rbac(report: &mut Report, wire: &network::Rbac) -> Result<NetworkRbac, Error> {
    let network::Rbac {
        rules,
        matcher,
        shadow_rules,
        shadow_matcher,
        shadow_rules_stat_prefix,
        // Only of statistics, and everybody must set it.
        stat_prefix: _,
        enforcement_type,
        delay_deny,
    } = wire;
    report.refused("matcher", matcher)?;
    report.refused("shadow_matcher", shadow_matcher)?;
    let enforcement = match EnforcementType::try_from(*enforcement_type) {
        Ok(EnforcementType::OneTimeOnFirstByte) => Enforcement::OnFirstByte,
        Ok(EnforcementType::Continuous) => Enforcement::Continuous,
        Err(_) => return Err(report.invalid("enforcement_type", format_args!("{enforcement_type} is not known"))),
    };
    Ok(NetworkRbac {
        filter: RbacFilter {
            rules: optional_rbac(report, "rules", rules.as_ref(), Layer::Connection)?,
            shadow: optional_rbac(report, "shadow_rules", shadow_rules.as_ref(), Layer::Connection)?,
            shadow_prefix: shadow_rules_stat_prefix.as_str().into(),
        },
        enforcement,
        delay_deny: optional_duration(report, "delay_deny", delay_deny.as_ref())?,
    })
}

pub(in crate::envoy) fn wire_network_rbac(rbac: &NetworkRbac) -> network::Rbac {
    let NetworkRbac { filter: RbacFilter { rules, shadow, shadow_prefix }, enforcement, delay_deny } = rbac;
    let enforcement = match enforcement {
        Enforcement::OnFirstByte => EnforcementType::OneTimeOnFirstByte,
        Enforcement::Continuous => EnforcementType::Continuous,
    };
    network::Rbac {
        rules: rules.as_ref().map(wire_rbac),
        shadow_rules: shadow.as_ref().map(wire_rbac),
        shadow_rules_stat_prefix: shadow_prefix.to_string(),
        stat_prefix: STATISTICS.to_owned(),
        enforcement_type: enforcement.into(),
        delay_deny: delay_deny.map(span),
        ..network::Rbac::default()
    }
}
