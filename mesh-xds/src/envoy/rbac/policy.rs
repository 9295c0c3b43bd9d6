use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::rbac::v3 as wire;
use envoy_types::pb::envoy::config::rbac::v3::{MetadataSource, SourcedMetadata};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::path_matcher::Rule as PathRule;
use envoy_types::pb::envoy::r#type::matcher::v3::{MetadataMatcher, PathMatcher};
use mesh_core::authz::rbac::{Action, Policy, Rbac};
use mesh_core::name::Text;
use mesh_core::path::PathTemplate;
use mesh_core::request::{HeaderMatch, MetadataMatch};
use mesh_core::string_match::Pattern;

use super::permission::{permission, wire_permission};
use super::principal::{principal, wire_principal};
use crate::envoy::error::{Error, Report};
use crate::envoy::header_matcher::header_match;
use crate::envoy::metadata_matcher::metadata_match;
use crate::envoy::string_matcher::{pattern, wire_pattern};
use crate::envoy::wire::{any, holds, unpack};
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

    /// A condition on the path, with wildcards.
    pub(super) fn template(self, report: &mut Report, wire: &TypedExtensionConfig) -> Result<PathTemplate, Error> {
        self.on_requests(report, "uri_template")?;
        report.within("uri_template", |report| {
            let TypedExtensionConfig { name: _, typed_config } = wire;
            let config = report.required("typed_config", typed_config.as_ref())?;
            if !holds::<UriTemplateMatchConfig>(config) {
                let type_url = config.type_url.clone();
                return Err(Error::UnsupportedType { field: report.at("typed_config"), type_url });
            }
            let UriTemplateMatchConfig { path_template } = unpack(report, "typed_config", config)?;
            PathTemplate::new(&path_template).map_err(|error| report.invalid("typed_config.path_template", error))
        })
    }

    /// A condition on what filters said.
    pub(super) fn metadata(self, report: &mut Report, matcher: &MetadataMatcher) -> Result<MetadataMatch, Error> {
        self.on_requests(report, "metadata")?;
        report.within("metadata", |report| metadata_match(report, matcher))
    }

    /// The same, where it is said whose metadata is meant.
    pub(super) fn sourced_metadata(self, report: &mut Report, wire: &SourcedMetadata) -> Result<MetadataMatch, Error> {
        self.on_requests(report, "sourced_metadata")?;
        report.within("sourced_metadata", |report| {
            let SourcedMetadata { metadata_matcher, metadata_source } = wire;
            report.refused("metadata_source", &(*metadata_source != i32::from(MetadataSource::Dynamic)))?;
            let matcher = report.required("metadata_matcher", metadata_matcher.as_ref())?;
            report.within("metadata_matcher", |report| metadata_match(report, matcher))
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

pub(super) fn wire_template(template: &PathTemplate) -> TypedExtensionConfig {
    let config = UriTemplateMatchConfig { path_template: template.as_str().to_owned() };
    TypedExtensionConfig {
        name: "envoy.path.match.uri_template.uri_template_matcher".to_owned(),
        typed_config: Some(any(&config)),
    }
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
