use std::collections::BTreeSet;

use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_requirement::RequiresType;
use envoy_types::pb::google::protobuf::Empty;
use mesh_core::authn::Requirement;
use mesh_core::authn::limits::MAX_DEPTH;
use mesh_core::name::Text;

use crate::envoy::error::{Error, Report};

/// The names of providers.
pub(super) type Names<'a> = BTreeSet<&'a str>;

pub(super) fn requirement(
    report: &mut Report,
    wire: &wire::JwtRequirement,
    names: &Names<'_>,
) -> Result<Requirement, Error> {
    within(report, wire, names, MAX_DEPTH)
}

fn within(
    report: &mut Report,
    wire: &wire::JwtRequirement,
    names: &Names<'_>,
    depth: usize,
) -> Result<Requirement, Error> {
    let wire::JwtRequirement { requires_type } = wire;
    match requires_type {
        None => Ok(Requirement::Nothing),
        Some(RequiresType::ProviderName(name)) => {
            Ok(Requirement::Provider { name: known(report, name, names)?, audiences: Vec::new() })
        }
        Some(RequiresType::ProviderAndAudiences(wire)) => report.within("provider_and_audiences", |report| {
            let wire::ProviderWithAudiences { provider_name, audiences } = wire;
            let audiences = audiences.iter().map(|audience| Text::from(audience.as_str())).collect();
            Ok(Requirement::Provider { name: known(report, provider_name, names)?, audiences })
        }),
        Some(RequiresType::RequiresAny(wire::JwtRequirementOrList { requirements })) => {
            list(report, "requires_any", requirements, names, depth).map(Requirement::Any)
        }
        Some(RequiresType::RequiresAll(wire::JwtRequirementAndList { requirements })) => {
            list(report, "requires_all", requirements, names, depth).map(Requirement::All)
        }
        Some(RequiresType::AllowMissing(Empty {})) => Ok(Requirement::AllowMissing),
        Some(RequiresType::AllowMissingOrFailed(Empty {})) => Ok(Requirement::AllowMissingOrFailed),
        Some(RequiresType::ExtractOnlyWithoutValidation(_)) => {
            Err(Error::Unsupported { field: report.at("extract_only_without_validation") })
        }
    }
}

fn known(report: &Report, name: &str, names: &Names<'_>) -> Result<Text, Error> {
    let name = report.named("provider_name", name)?;
    match names.contains(name.as_str()) {
        true => Ok(name),
        false => Err(report.invalid("provider_name", format_args!("`{name}` is not there"))),
    }
}

fn list(
    report: &mut Report,
    field: &str,
    requirements: &[wire::JwtRequirement],
    names: &Names<'_>,
    depth: usize,
) -> Result<Vec<Requirement>, Error> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(report.invalid(field, format_args!("is deeper than {MAX_DEPTH}")));
    };
    if requirements.len() < 2 {
        return Err(report.invalid(field, "must hold two requirements at least"));
    }
    report.within(field, |report| {
        report.each("requirements", requirements, |report, wire| within(report, wire, names, depth))
    })
}

pub(super) fn wire_requirement(requirement: &Requirement) -> wire::JwtRequirement {
    let all = |list: &[Requirement]| list.iter().map(wire_requirement).collect();
    let requires_type = match requirement {
        Requirement::Nothing => None,
        Requirement::Provider { name, audiences } if audiences.is_empty() => {
            Some(RequiresType::ProviderName(name.to_string()))
        }
        Requirement::Provider { name, audiences } => {
            Some(RequiresType::ProviderAndAudiences(wire::ProviderWithAudiences {
                provider_name: name.to_string(),
                audiences: audiences.iter().map(ToString::to_string).collect(),
            }))
        }
        Requirement::Any(list) => {
            Some(RequiresType::RequiresAny(wire::JwtRequirementOrList { requirements: all(list) }))
        }
        Requirement::All(list) => {
            Some(RequiresType::RequiresAll(wire::JwtRequirementAndList { requirements: all(list) }))
        }
        Requirement::AllowMissing => Some(RequiresType::AllowMissing(Empty {})),
        Requirement::AllowMissingOrFailed => Some(RequiresType::AllowMissingOrFailed(Empty {})),
    };
    wire::JwtRequirement { requires_type }
}
