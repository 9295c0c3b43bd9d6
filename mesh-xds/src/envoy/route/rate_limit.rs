//! | field | how it is taken |
//! | --- | --- |
//! | **RateLimit** `actions` | honoured; none: NACK |
//! | `stage` up to 10 | honoured on routes and virtual hosts; in a filter: NACK |
//! | `disable_key` | warning on routes and virtual hosts: there is no runtime that could hold it; in a filter: NACK |
//! | `limit`, `hits_addend`, `x_ratelimit_option` | honoured; `hits_addend` on routes too, where Envoy passes over it |
//! | `apply_on_stream_done` | NACK |
//! | **Action** all kinds but the next rows | honoured; masks that are too long, empty keys and values: NACK |
//! | `default_value` of `generic_key`, `header_value_match`, `query_parameter_value_match` | warning: the values are texts, in Envoy too unless its runtime says otherwise |
//! | `metadata` | honoured where `source` is DYNAMIC; other sources: NACK |
//! | the deprecated `dynamic_metadata` | honoured on routes and virtual hosts, written as `metadata`; in a filter: NACK |
//! | `extension` | NACK |

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3::RateLimit as Wire;
use envoy_types::pb::envoy::config::route::v3::rate_limit::action::meta_data::Source;
use envoy_types::pb::envoy::config::route::v3::rate_limit::action::{self, ActionSpecifier};
use envoy_types::pb::envoy::config::route::v3::rate_limit::r#override::{
    DynamicMetadata, OverrideSpecifier, RateLimitOverride,
};
use envoy_types::pb::envoy::config::route::v3::rate_limit::{Action, HitsAddend, Override, XRateLimitOption};
use envoy_types::pb::envoy::r#type::matcher::v3::AddressMatcher;
use envoy_types::pb::google::protobuf::{UInt32Value, UInt64Value};
use envoy_types::pb::xds::core::v3::CidrRange;
use ipnet::IpNet;
use mesh_core::name::Text;
use mesh_core::route::{DescriptorAction, Hits, LimitOverride, Quota, RateLimit, RateUnit};

use super::matcher::{query_match, wire_query_match};
use super::mutation::template;
use crate::envoy::cidr::{cidr, wire_cidr};
use crate::envoy::error::{Error, Report};
use crate::envoy::header_matcher::{field, header_match, wire_header_match};
use crate::envoy::metadata_matcher::{metadata_path, wire_metadata_path};
use crate::envoy::wire::{boolean, uint32};

/// Highest stage.
pub(in crate::envoy) const MAX_STAGE: u32 = 10;

/// Where a rate limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::envoy) enum Place {
    /// On a route or a virtual host.
    Route,
    /// In the settings of a filter.
    Filter,
}

pub(super) fn rate_limits_of_route(report: &mut Report, wire: &[Wire]) -> Result<Vec<RateLimit>, Error> {
    report.each("rate_limits", wire, |report, wire| rate_limit(report, wire, Place::Route))
}

pub(in crate::envoy) fn rate_limit(report: &mut Report, wire: &Wire, place: Place) -> Result<RateLimit, Error> {
    let Wire { stage, disable_key, actions, limit, hits_addend, apply_on_stream_done, x_ratelimit_option } = wire;
    if place == Place::Filter {
        report.refused("stage", stage)?;
        report.refused("disable_key", disable_key)?;
    }
    report.ignored("disable_key", disable_key);
    report.refused("apply_on_stream_done", apply_on_stream_done)?;
    let stage = stage.map_or(0, |stage| stage.value);
    if stage > MAX_STAGE {
        return Err(report.invalid("stage", format_args!("{stage} is more than {MAX_STAGE}")));
    }
    if actions.is_empty() {
        return Err(Error::Missing { field: report.at("actions") });
    }
    let headers = match XRateLimitOption::try_from(*x_ratelimit_option) {
        Ok(XRateLimitOption::Unspecified) => None,
        Ok(XRateLimitOption::Off) => Some(false),
        Ok(XRateLimitOption::DraftVersion03) => Some(true),
        Err(_) => return Err(report.invalid("x_ratelimit_option", format_args!("{x_ratelimit_option} is not known"))),
    };
    Ok(RateLimit {
        stage,
        actions: report.each("actions", actions, |report, action| descriptor_action(report, action, place))?,
        limit: report.optional("limit", limit.as_ref(), limit_override)?,
        hits: report.optional("hits_addend", hits_addend.as_ref(), hits)?,
        headers,
    })
}

pub(in crate::envoy) fn wire_rate_limit(limit: &RateLimit) -> Wire {
    let RateLimit { stage, actions, limit, hits, headers } = limit;
    let option = match headers {
        None => XRateLimitOption::Unspecified,
        Some(false) => XRateLimitOption::Off,
        Some(true) => XRateLimitOption::DraftVersion03,
    };
    Wire {
        stage: Some(*stage).filter(|stage| *stage > 0).map(uint32),
        actions: actions.iter().map(wire_action).collect(),
        limit: limit.as_ref().map(wire_limit_override),
        hits_addend: hits.as_ref().map(wire_hits),
        x_ratelimit_option: option.into(),
        ..Wire::default()
    }
}

fn descriptor_action(report: &mut Report, action: &Action, place: Place) -> Result<DescriptorAction, Error> {
    match report.required("action_specifier", action.action_specifier.as_ref())? {
        ActionSpecifier::SourceCluster(action::SourceCluster {}) => Ok(DescriptorAction::SourceCluster),
        ActionSpecifier::DestinationCluster(action::DestinationCluster {}) => Ok(DescriptorAction::DestinationCluster),
        ActionSpecifier::RemoteAddress(action::RemoteAddress {}) => Ok(DescriptorAction::RemoteAddress),
        ActionSpecifier::RequestHeaders(wire) => report.within("request_headers", |report| {
            let action::RequestHeaders { header_name, descriptor_key, skip_if_absent } = wire;
            Ok(DescriptorAction::RequestHeader {
                name: field(report, "header_name", header_name)?,
                key: report.named("descriptor_key", descriptor_key)?,
                skip_if_absent: *skip_if_absent,
            })
        }),
        ActionSpecifier::QueryParameters(wire) => report.within("query_parameters", |report| {
            let action::QueryParameters { query_parameter_name, descriptor_key, skip_if_absent } = wire;
            Ok(DescriptorAction::QueryParameter {
                name: report.named("query_parameter_name", query_parameter_name)?,
                key: report.named("descriptor_key", descriptor_key)?,
                skip_if_absent: *skip_if_absent,
            })
        }),
        ActionSpecifier::MaskedRemoteAddress(wire) => report.within("masked_remote_address", |report| {
            let action::MaskedRemoteAddress { v4_prefix_mask_len, v6_prefix_mask_len } = wire;
            Ok(DescriptorAction::MaskedRemoteAddress {
                v4: mask(report, "v4_prefix_mask_len", v4_prefix_mask_len.as_ref(), 32)?,
                v6: mask(report, "v6_prefix_mask_len", v6_prefix_mask_len.as_ref(), 128)?,
            })
        }),
        ActionSpecifier::GenericKey(wire) => report.within("generic_key", |report| {
            let action::GenericKey { descriptor_value, default_value, descriptor_key } = wire;
            report.ignored("default_value", default_value);
            let key = key_or(descriptor_key, "generic_key");
            Ok(DescriptorAction::GenericKey { key, value: report.named("descriptor_value", descriptor_value)? })
        }),
        ActionSpecifier::HeaderValueMatch(wire) => report.within("header_value_match", |report| {
            let action::HeaderValueMatch { descriptor_value, default_value, descriptor_key, expect_match, headers } =
                wire;
            report.ignored("default_value", default_value);
            if headers.is_empty() {
                return Err(Error::Missing { field: report.at("headers") });
            }
            Ok(DescriptorAction::HeaderMatch {
                key: key_or(descriptor_key, "header_match"),
                value: report.named("descriptor_value", descriptor_value)?,
                expect: expect_match.is_none_or(|expect| expect.value),
                headers: report.each("headers", headers, header_match)?,
            })
        }),
        ActionSpecifier::QueryParameterValueMatch(wire) => report.within("query_parameter_value_match", |report| {
            let action::QueryParameterValueMatch {
                descriptor_value,
                default_value,
                descriptor_key,
                expect_match,
                query_parameters,
            } = wire;
            report.ignored("default_value", default_value);
            if query_parameters.is_empty() {
                return Err(Error::Missing { field: report.at("query_parameters") });
            }
            Ok(DescriptorAction::QueryMatch {
                key: key_or(descriptor_key, "query_match"),
                value: report.named("descriptor_value", descriptor_value)?,
                expect: expect_match.is_none_or(|expect| expect.value),
                query: report.each("query_parameters", query_parameters, query_match)?,
            })
        }),
        ActionSpecifier::RemoteAddressMatch(wire) => {
            report.within("remote_address_match", |report| remote_address_match(report, wire))
        }
        ActionSpecifier::Metadata(wire) => report.within("metadata", |report| {
            let action::MetaData { descriptor_key, metadata_key, default_value, source, skip_if_absent } = wire;
            if Source::try_from(*source) != Ok(Source::Dynamic) {
                return Err(Error::Unsupported { field: report.at("source") });
            }
            let at = report.required("metadata_key", metadata_key.as_ref())?;
            Ok(DescriptorAction::Metadata {
                key: report.named("descriptor_key", descriptor_key)?,
                at: report.within("metadata_key", |report| metadata_path(report, at))?,
                default: filled(default_value),
                skip_if_absent: *skip_if_absent,
            })
        }),
        ActionSpecifier::DynamicMetadata(_) if place == Place::Filter => {
            Err(Error::Unsupported { field: report.at("dynamic_metadata") })
        }
        ActionSpecifier::DynamicMetadata(wire) => report.within("dynamic_metadata", |report| {
            let action::DynamicMetaData { descriptor_key, metadata_key, default_value } = wire;
            let at = report.required("metadata_key", metadata_key.as_ref())?;
            Ok(DescriptorAction::Metadata {
                key: report.named("descriptor_key", descriptor_key)?,
                at: report.within("metadata_key", |report| metadata_path(report, at))?,
                default: filled(default_value),
                skip_if_absent: false,
            })
        }),
        ActionSpecifier::Extension(_) => Err(Error::Unsupported { field: report.at("extension") }),
    }
}

fn remote_address_match(report: &mut Report, wire: &action::RemoteAddressMatch) -> Result<DescriptorAction, Error> {
    let action::RemoteAddressMatch { descriptor_value, descriptor_key, default_value, address_matcher } = wire;
    let value = report.named("descriptor_value", descriptor_value)?;
    let matcher = report.required("address_matcher", address_matcher.as_ref())?;
    let AddressMatcher { ranges, invert_match } = matcher;
    Ok(DescriptorAction::RemoteAddressMatch {
        key: key_or(descriptor_key, "remote_address_match"),
        value: template(report, "descriptor_value", value.as_str())?,
        default: filled(default_value),
        ranges: report.within("address_matcher", |report| report.each("ranges", ranges, range))?,
        invert: *invert_match,
    })
}

fn wire_action(action: &DescriptorAction) -> Action {
    let specifier = match action {
        DescriptorAction::SourceCluster => ActionSpecifier::SourceCluster(action::SourceCluster {}),
        DescriptorAction::DestinationCluster => ActionSpecifier::DestinationCluster(action::DestinationCluster {}),
        DescriptorAction::RemoteAddress => ActionSpecifier::RemoteAddress(action::RemoteAddress {}),
        DescriptorAction::RequestHeader { name, key, skip_if_absent } => {
            ActionSpecifier::RequestHeaders(action::RequestHeaders {
                header_name: name.to_string(),
                descriptor_key: key.to_string(),
                skip_if_absent: *skip_if_absent,
            })
        }
        DescriptorAction::QueryParameter { name, key, skip_if_absent } => {
            ActionSpecifier::QueryParameters(action::QueryParameters {
                query_parameter_name: name.to_string(),
                descriptor_key: key.to_string(),
                skip_if_absent: *skip_if_absent,
            })
        }
        DescriptorAction::MaskedRemoteAddress { v4, v6 } => {
            ActionSpecifier::MaskedRemoteAddress(action::MaskedRemoteAddress {
                v4_prefix_mask_len: Some(uint32((*v4).into())),
                v6_prefix_mask_len: Some(uint32((*v6).into())),
            })
        }
        DescriptorAction::GenericKey { key, value } => ActionSpecifier::GenericKey(action::GenericKey {
            descriptor_value: value.to_string(),
            descriptor_key: key.to_string(),
            ..action::GenericKey::default()
        }),
        DescriptorAction::HeaderMatch { key, value, expect, headers } => {
            ActionSpecifier::HeaderValueMatch(action::HeaderValueMatch {
                descriptor_value: value.to_string(),
                descriptor_key: key.to_string(),
                expect_match: Some(boolean(*expect)),
                headers: headers.iter().map(wire_header_match).collect(),
                ..action::HeaderValueMatch::default()
            })
        }
        DescriptorAction::QueryMatch { key, value, expect, query } => {
            ActionSpecifier::QueryParameterValueMatch(action::QueryParameterValueMatch {
                descriptor_value: value.to_string(),
                descriptor_key: key.to_string(),
                expect_match: Some(boolean(*expect)),
                query_parameters: query.iter().map(wire_query_match).collect(),
                ..action::QueryParameterValueMatch::default()
            })
        }
        DescriptorAction::RemoteAddressMatch { key, value, default, ranges, invert } => {
            let matcher = AddressMatcher { ranges: ranges.iter().map(wire_range).collect(), invert_match: *invert };
            ActionSpecifier::RemoteAddressMatch(action::RemoteAddressMatch {
                descriptor_value: value.as_str().to_owned(),
                descriptor_key: key.to_string(),
                default_value: default.as_ref().map(Text::to_string).unwrap_or_default(),
                address_matcher: Some(matcher),
            })
        }
        DescriptorAction::Metadata { key, at, default, skip_if_absent } => {
            ActionSpecifier::Metadata(action::MetaData {
                descriptor_key: key.to_string(),
                metadata_key: Some(wire_metadata_path(at)),
                default_value: default.as_ref().map(Text::to_string).unwrap_or_default(),
                source: Source::Dynamic.into(),
                skip_if_absent: *skip_if_absent,
            })
        }
    };
    Action { action_specifier: Some(specifier) }
}

fn limit_override(report: &mut Report, wire: &Override) -> Result<LimitOverride, Error> {
    match report.required("override_specifier", wire.override_specifier.as_ref())? {
        OverrideSpecifier::RateLimit(RateLimitOverride { requests_per_unit, unit }) => {
            let known = || report.invalid("rate_limit.unit", format_args!("{unit} is not known"));
            let unit = unit_of(*unit).ok_or_else(known)?;
            Ok(LimitOverride::Fixed(Quota { requests: *requests_per_unit, unit }))
        }
        OverrideSpecifier::DynamicMetadata(DynamicMetadata { metadata_key }) => {
            report.within("dynamic_metadata", |report| {
                let at = report.required("metadata_key", metadata_key.as_ref())?;
                report.within("metadata_key", |report| metadata_path(report, at)).map(LimitOverride::Metadata)
            })
        }
    }
}

fn wire_limit_override(limit: &LimitOverride) -> Override {
    let specifier = match limit {
        LimitOverride::Fixed(Quota { requests, unit }) => {
            OverrideSpecifier::RateLimit(RateLimitOverride { requests_per_unit: *requests, unit: wire_unit(*unit) })
        }
        LimitOverride::Metadata(at) => {
            OverrideSpecifier::DynamicMetadata(DynamicMetadata { metadata_key: Some(wire_metadata_path(at)) })
        }
    };
    Override { override_specifier: Some(specifier) }
}

/// The unit of a number: those of `RateLimitUnit`, and the week that the rate limit service knows besides.
pub(crate) fn unit_of(number: i32) -> Option<RateUnit> {
    match number {
        1 => Some(RateUnit::Second),
        2 => Some(RateUnit::Minute),
        3 => Some(RateUnit::Hour),
        4 => Some(RateUnit::Day),
        5 => Some(RateUnit::Month),
        6 => Some(RateUnit::Year),
        7 => Some(RateUnit::Week),
        _ => None,
    }
}

pub(crate) fn wire_unit(unit: RateUnit) -> i32 {
    match unit {
        RateUnit::Second => 1,
        RateUnit::Minute => 2,
        RateUnit::Hour => 3,
        RateUnit::Day => 4,
        RateUnit::Month => 5,
        RateUnit::Year => 6,
        RateUnit::Week => 7,
    }
}

fn hits(report: &mut Report, wire: &HitsAddend) -> Result<Hits, Error> {
    let HitsAddend { number, format, is_negative_hits: negative } = wire;
    let negative = *negative;
    match (number, format.as_str()) {
        (Some(UInt64Value { value }), "") if *value <= Hits::MOST => Ok(Hits::Number { number: *value, negative }),
        (Some(UInt64Value { value }), "") => {
            Err(report.invalid("number", format_args!("{value} is more than {}", Hits::MOST)))
        }
        (Some(_), _) => Err(report.invalid("format", "stands beside `number`")),
        (None, "") => Err(Error::Missing { field: report.at("number") }),
        (None, format) => Ok(Hits::Text { text: template(report, "format", format)?, negative }),
    }
}

fn wire_hits(hits: &Hits) -> HitsAddend {
    match hits {
        Hits::Number { number, negative } => HitsAddend {
            number: Some(UInt64Value { value: *number }),
            is_negative_hits: *negative,
            ..HitsAddend::default()
        },
        Hits::Text { text, negative } => {
            HitsAddend { number: None, format: text.as_str().to_owned(), is_negative_hits: *negative }
        }
    }
}

fn mask(report: &Report, field: &str, length: Option<&UInt32Value>, most: u8) -> Result<u8, Error> {
    let length = length.map_or_else(|| most.into(), |length| length.value);
    let short = u8::try_from(length).ok().filter(|length| *length <= most);
    short.ok_or_else(|| report.invalid(field, format_args!("{length} is more than {most}")))
}

fn range(report: &mut Report, wire: &CidrRange) -> Result<IpNet, Error> {
    let CidrRange { address_prefix, prefix_len } = wire;
    cidr(report, &core::CidrRange { address_prefix: address_prefix.clone(), prefix_len: *prefix_len })
}

fn wire_range(range: &IpNet) -> CidrRange {
    let core::CidrRange { address_prefix, prefix_len } = wire_cidr(range);
    CidrRange { address_prefix, prefix_len }
}

fn key_or(key: &str, default: &str) -> Text {
    if key.is_empty() { default.into() } else { key.into() }
}

fn filled(text: &str) -> Option<Text> {
    Some(text).filter(|text| !text.is_empty()).map(Text::from)
}
