use std::collections::{BTreeMap, HashMap};

use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::per_route_config::RequirementSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::requirement_rule::RequirementType;
use mesh_core::authn::{Authentication, Demand, Requirement, Rule};
use mesh_core::name::Text;

use super::provider::{provider, wire_provider};
use super::requirement::{Names, requirement, wire_requirement};
use crate::envoy::error::{Error, Report};
use crate::envoy::route::{route_match, wire_route_match};

/// Authentication by tokens.
pub(in crate::envoy) fn authentication(
    report: &mut Report,
    wire: &wire::JwtAuthentication,
) -> Result<Authentication, Error> {
    let wire::JwtAuthentication {
        providers,
        rules,
        filter_state_rules,
        bypass_cors_preflight,
        requirement_map,
        strip_failure_response,
        stat_prefix,
    } = wire;
    report.refused("filter_state_rules", filter_state_rules)?;
    report.ignored("stat_prefix", stat_prefix);
    let providers = named(report, "providers", providers, provider)?;
    let names: Names<'_> = providers.keys().map(Text::as_str).collect();
    let requirements =
        named(report, "requirement_map", requirement_map, |report, wire| requirement(report, wire, &names))?;
    let rules = report.each("rules", rules, |report, wire| rule(report, wire, &names, &requirements))?;
    Ok(Authentication {
        providers,
        rules,
        requirements,
        bypass_cors_preflight: *bypass_cors_preflight,
        strip_failure_response: *strip_failure_response,
    })
}

/// The values of a map, in order, so that the same resource gives the same first error and the same warnings.
fn named<T, U>(
    report: &mut Report,
    field: &str,
    map: &HashMap<String, T>,
    mut decode: impl FnMut(&mut Report, &T) -> Result<U, Error>,
) -> Result<BTreeMap<Text, U>, Error> {
    let ordered: BTreeMap<_, _> = map.iter().collect();
    let one = |(name, wire): (&String, &T)| {
        let value = report.within(format_args!("{field}[{name}]"), |report| decode(report, wire))?;
        Ok((Text::from(name.as_str()), value))
    };
    ordered.into_iter().map(one).collect()
}

fn rule(
    report: &mut Report,
    wire: &wire::RequirementRule,
    names: &Names<'_>,
    requirements: &BTreeMap<Text, Requirement>,
) -> Result<Rule, Error> {
    let wire::RequirementRule { r#match, requirement_type } = wire;
    let matcher = report.required("match", r#match.as_ref())?;
    let matcher = report.within("match", |report| route_match(report, matcher))?;
    let demand = match requirement_type {
        None => Demand::Inline(Requirement::Nothing),
        Some(RequirementType::Requires(wire)) => {
            Demand::Inline(report.within("requires", |report| requirement(report, wire, names))?)
        }
        Some(RequirementType::RequirementName(name)) => {
            let name = report.named("requirement_name", name)?;
            if !requirements.contains_key(&name) {
                return Err(report.invalid("requirement_name", format_args!("`{name}` is not there")));
            }
            Demand::Named(name)
        }
    };
    Ok(Rule { matcher, demand })
}

pub(in crate::envoy) fn wire_authentication(authentication: &Authentication) -> wire::JwtAuthentication {
    let Authentication { providers, rules, requirements, bypass_cors_preflight, strip_failure_response } =
        authentication;
    let rule = |Rule { matcher, demand }: &Rule| wire::RequirementRule {
        r#match: Some(wire_route_match(matcher)),
        requirement_type: Some(match demand {
            Demand::Inline(requirement) => RequirementType::Requires(wire_requirement(requirement)),
            Demand::Named(name) => RequirementType::RequirementName(name.to_string()),
        }),
    };
    wire::JwtAuthentication {
        providers: providers.iter().map(|(name, provider)| (name.to_string(), wire_provider(provider))).collect(),
        rules: rules.iter().map(rule).collect(),
        requirement_map: requirements.iter().map(|(name, one)| (name.to_string(), wire_requirement(one))).collect(),
        bypass_cors_preflight: *bypass_cors_preflight,
        strip_failure_response: *strip_failure_response,
        ..wire::JwtAuthentication::default()
    }
}

/// What a route demands instead, by name; `None` when it demands nothing.
pub(in crate::envoy) fn authn_per_route(report: &Report, wire: &wire::PerRouteConfig) -> Result<Option<Text>, Error> {
    let wire::PerRouteConfig { requirement_specifier } = wire;
    match report.required("requirement_specifier", requirement_specifier.as_ref())? {
        RequirementSpecifier::Disabled(true) => Ok(None),
        RequirementSpecifier::Disabled(false) => Err(report.invalid("disabled", "must be true")),
        RequirementSpecifier::RequirementName(name) => report.named("requirement_name", name).map(Some),
    }
}

pub(in crate::envoy) fn wire_authn_per_route(name: Option<&Text>) -> wire::PerRouteConfig {
    let specifier = match name {
        None => RequirementSpecifier::Disabled(true),
        Some(name) => RequirementSpecifier::RequirementName(name.to_string()),
    };
    wire::PerRouteConfig { requirement_specifier: Some(specifier) }
}
