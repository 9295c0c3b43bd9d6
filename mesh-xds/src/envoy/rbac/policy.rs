use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::rbac::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::PathMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::path_matcher::Rule as PathRule;
use mesh_core::authz::rbac::{Action, Policy, Rbac};
use mesh_core::name::Text;
use mesh_core::request::HeaderMatch;
use mesh_core::string_match::Pattern;

use super::permission::{permission, wire_permission};
use super::principal::{principal, wire_principal};
use crate::envoy::error::{Error, Report};
use crate::envoy::header_matcher::header_match;
use crate::envoy::string_matcher::{pattern, wire_pattern};
use crate::limits::MAX_CONDITION_DEPTH;

/// What rules are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// Connections, which have neither headers nor a path.
    Connection,
    /// Requests.
    Request,
}

/// Where in a condition the decoder is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Depth {
    layer: Layer,
    left: usize,
}

impl Depth {
    /// One condition further down.
    pub(super) fn below(self, report: &Report, field: &str) -> Result<Self, Error> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => Err(report.invalid(field, format_args!("is deeper than {MAX_CONDITION_DEPTH}"))),
        }
    }

    /// A condition on a header.
    pub(super) fn header(self, report: &mut Report, matcher: &HeaderMatcher) -> Result<HeaderMatch, Error> {
        self.on_requests(report, "header")?;
        report.within("header", |report| header_match(report, matcher))
    }

    /// A condition on the path.
    pub(super) fn path(self, report: &mut Report, PathMatcher { rule }: &PathMatcher) -> Result<Pattern, Error> {
        self.on_requests(report, "url_path")?;
        report.within("url_path", |report| {
            let PathRule::Path(matcher) = report.required("path", rule.as_ref())?;
            report.within("path", |report| pattern(report, matcher))
        })
    }

    fn on_requests(self, report: &Report, field: &str) -> Result<(), Error> {
        match self.layer {
            Layer::Request => Ok(()),
            Layer::Connection => Err(report.invalid(field, "is no condition on connections")),
        }
    }
}

pub(super) fn wire_path(pattern: &Pattern) -> PathMatcher {
    PathMatcher { rule: Some(PathRule::Path(wire_pattern(pattern))) }
}

/// The conditions of a list that must not be empty.
pub(super) fn some<T, U>(
    report: &mut Report,
    field: &str,
    list: &[T],
    decode: impl FnMut(&mut Report, &T) -> Result<U, Error>,
) -> Result<Vec<U>, Error> {
    if list.is_empty() {
        return Err(Error::Missing { field: report.at(field) });
    }
    report.each(field, list, decode)
}

/// Rules for a layer.
pub(super) fn optional_rbac(
    report: &mut Report,
    field: &str,
    wire: Option<&wire::Rbac>,
    layer: Layer,
) -> Result<Option<Rbac>, Error> {
    wire.map(|wire| report.within(field, |report| rbac(report, wire, layer))).transpose()
}

fn rbac(report: &mut Report, wire: &wire::Rbac, layer: Layer) -> Result<Rbac, Error> {
    let wire::Rbac { action, policies, audit_logging_options } = wire;
    report.ignored("audit_logging_options", audit_logging_options);
    let action = match wire::rbac::Action::try_from(*action) {
        Ok(wire::rbac::Action::Allow) => Action::Allow,
        Ok(wire::rbac::Action::Deny) => Action::Deny,
        Ok(wire::rbac::Action::Log) => Action::Log,
        Err(_) => return Err(report.invalid("action", format_args!("{action} is not known"))),
    };
    // In order, so that the same resource gives the same first error.
    let policies: BTreeMap<_, _> = policies.iter().collect();
    let one = |(name, wire): (&String, &wire::Policy)| {
        let policy = report.within(format_args!("policies[{name}]"), |report| policy(report, wire, layer))?;
        Ok((name.as_str().into(), policy))
    };
    Ok(Rbac { action, policies: policies.into_iter().map(one).collect::<Result<_, Error>>()? })
}

fn policy(report: &mut Report, wire: &wire::Policy, layer: Layer) -> Result<Policy, Error> {
    let wire::Policy { permissions, principals, condition, checked_condition, cel_config } = wire;
    report.refused("condition", condition)?;
    report.refused("checked_condition", checked_condition)?;
    report.refused("cel_config", cel_config)?;
    let depth = Depth { layer, left: MAX_CONDITION_DEPTH };
    Ok(Policy {
        permissions: some(report, "permissions", permissions, |report, wire| permission(report, wire, depth))?,
        principals: some(report, "principals", principals, |report, wire| principal(report, wire, depth))?,
    })
}

pub(super) fn wire_rbac(rbac: &Rbac) -> wire::Rbac {
    let Rbac { action, policies } = rbac;
    let action = match action {
        Action::Allow => wire::rbac::Action::Allow,
        Action::Deny => wire::rbac::Action::Deny,
        Action::Log => wire::rbac::Action::Log,
    };
    let one = |(name, policy): (&Text, &Policy)| (name.to_string(), wire_policy(policy));
    wire::Rbac { action: action.into(), policies: policies.iter().map(one).collect(), audit_logging_options: None }
}

fn wire_policy(policy: &Policy) -> wire::Policy {
    let Policy { permissions, principals } = policy;
    wire::Policy {
        permissions: permissions.iter().map(wire_permission).collect(),
        principals: principals.iter().map(wire_principal).collect(),
        ..wire::Policy::default()
    }
}
