//! Envoy's `MetadataMatcher` ↔ [`MetadataMatch`], `ValueMatcher` ↔ [`ValueMatch`], `MetadataKey` ↔ [`MetadataPath`].
//!
//! | field | how it is taken |
//! | --- | --- |
//! | `filter`, `path` of keys, `value`, `invert` | honoured; without a filter or a path: NACK |
//! | `null_match`, `double_match`, `string_match`, `bool_match`, `present_match`, `list_match.one_of` | honoured |
//! | `or_match` | honoured; of less than two: NACK |
//! | **MetadataKey** `key`, `path` of keys | honoured; without a path, or with an index in it: NACK |
//!
//! Values within values are followed to a depth of [`MAX_CONDITION_DEPTH`].

use envoy_types::pb::envoy::r#type::matcher::v3::list_matcher::MatchPattern as ListPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::metadata_matcher::PathSegment;
use envoy_types::pb::envoy::r#type::matcher::v3::metadata_matcher::path_segment::Segment;
use envoy_types::pb::envoy::r#type::matcher::v3::value_matcher::{MatchPattern, NullMatch};
use envoy_types::pb::envoy::r#type::matcher::v3::{
    DoubleMatcher, ListMatcher, MetadataMatcher, OrMatcher, ValueMatcher, double_matcher,
};
use envoy_types::pb::envoy::r#type::metadata::v3::MetadataKey;
use envoy_types::pb::envoy::r#type::metadata::v3::metadata_key;
use envoy_types::pb::envoy::r#type::metadata::v3::metadata_key::path_segment::Segment as KeySegment;
use envoy_types::pb::envoy::r#type::v3::DoubleRange;
use mesh_core::name::Text;
use mesh_core::request::{MetadataMatch, NumberMatch, ValueMatch};
use mesh_core::route::MetadataPath;

use super::error::{Error, Report};
use super::string_matcher::{pattern, wire_pattern};
use crate::limits::MAX_CONDITION_DEPTH;

pub(super) fn metadata_match(report: &mut Report, wire: &MetadataMatcher) -> Result<MetadataMatch, Error> {
    let MetadataMatcher { filter, path, value, invert } = wire;
    if path.is_empty() {
        return Err(Error::Missing { field: report.at("path") });
    }
    let key = |report: &mut Report, PathSegment { segment }: &PathSegment| match segment {
        Some(Segment::Key(key)) => report.named("key", key),
        None => Err(Error::Missing { field: report.at("key") }),
    };
    let value = report.required("value", value.as_ref())?;
    Ok(MetadataMatch {
        filter: report.named("filter", filter)?,
        path: report.each("path", path, key)?,
        value: report.within("value", |report| value_match(report, value, MAX_CONDITION_DEPTH))?,
        invert: *invert,
    })
}

fn value_match(report: &mut Report, wire: &ValueMatcher, depth: usize) -> Result<ValueMatch, Error> {
    let ValueMatcher { match_pattern } = wire;
    let below = |report: &Report, field: &str| {
        let too_deep = || report.invalid(field, format_args!("is deeper than {MAX_CONDITION_DEPTH}"));
        depth.checked_sub(1).ok_or_else(too_deep)
    };
    match report.required("match_pattern", match_pattern.as_ref())? {
        MatchPattern::NullMatch(NullMatch {}) => Ok(ValueMatch::Null),
        MatchPattern::DoubleMatch(DoubleMatcher { match_pattern }) => {
            let number = report.within("double_match", |report| report.required("match_pattern", *match_pattern))?;
            Ok(ValueMatch::Number(match number {
                double_matcher::MatchPattern::Exact(wanted) => NumberMatch::Exact(wanted),
                double_matcher::MatchPattern::Range(DoubleRange { start, end }) => NumberMatch::Range { start, end },
            }))
        }
        MatchPattern::StringMatch(matcher) => {
            report.within("string_match", |report| pattern(report, matcher)).map(ValueMatch::Text)
        }
        MatchPattern::BoolMatch(wanted) => Ok(ValueMatch::Bool(*wanted)),
        MatchPattern::PresentMatch(wanted) => Ok(ValueMatch::Present(*wanted)),
        MatchPattern::ListMatch(list) => {
            let ListMatcher { match_pattern } = &**list;
            let depth = below(report, "list_match")?;
            report.within("list_match", |report| {
                let ListPattern::OneOf(element) = report.required("one_of", match_pattern.as_ref())?;
                let element = report.within("one_of", |report| value_match(report, element, depth))?;
                Ok(ValueMatch::Contains(Box::new(element)))
            })
        }
        MatchPattern::OrMatch(OrMatcher { value_matchers }) => {
            let depth = below(report, "or_match")?;
            report.within("or_match", |report| {
                if value_matchers.len() < 2 {
                    return Err(report.invalid("value_matchers", "are less than two"));
                }
                let each = |report: &mut Report, wire| value_match(report, wire, depth);
                report.each("value_matchers", value_matchers, each).map(ValueMatch::Or)
            })
        }
    }
}

pub(super) fn wire_metadata_match(matcher: &MetadataMatch) -> MetadataMatcher {
    let MetadataMatch { filter, path, value, invert } = matcher;
    let segment = |key: &Text| PathSegment { segment: Some(Segment::Key(key.to_string())) };
    MetadataMatcher {
        filter: filter.to_string(),
        path: path.iter().map(segment).collect(),
        value: Some(wire_value(value)),
        invert: *invert,
    }
}

fn wire_value(value: &ValueMatch) -> ValueMatcher {
    let matched = match value {
        ValueMatch::Null => MatchPattern::NullMatch(NullMatch {}),
        ValueMatch::Bool(wanted) => MatchPattern::BoolMatch(*wanted),
        ValueMatch::Number(number) => {
            let number = match *number {
                NumberMatch::Exact(wanted) => double_matcher::MatchPattern::Exact(wanted),
                NumberMatch::Range { start, end } => double_matcher::MatchPattern::Range(DoubleRange { start, end }),
            };
            MatchPattern::DoubleMatch(DoubleMatcher { match_pattern: Some(number) })
        }
        ValueMatch::Text(pattern) => MatchPattern::StringMatch(wire_pattern(pattern)),
        ValueMatch::Present(wanted) => MatchPattern::PresentMatch(*wanted),
        ValueMatch::Contains(element) => {
            let one_of = ListPattern::OneOf(Box::new(wire_value(element)));
            MatchPattern::ListMatch(Box::new(ListMatcher { match_pattern: Some(one_of) }))
        }
        // One alternative is no alternative, and Envoy wants two.
        ValueMatch::Or(some) if some.len() == 1 => return some.first().map(wire_value).unwrap_or_default(),
        ValueMatch::Or(some) => {
            MatchPattern::OrMatch(OrMatcher { value_matchers: some.iter().map(wire_value).collect() })
        }
    };
    ValueMatcher { match_pattern: Some(matched) }
}

pub(super) fn metadata_path(report: &mut Report, wire: &MetadataKey) -> Result<MetadataPath, Error> {
    let MetadataKey { key, path } = wire;
    let keys = report.each("path", path, |report, metadata_key::PathSegment { segment }| {
        match report.required("segment", segment.as_ref())? {
            KeySegment::Key(key) => report.named("key", key),
            KeySegment::Index(_) => Err(Error::Unsupported { field: report.at("index") }),
        }
    })?;
    Ok(MetadataPath {
        filter: report.named("key", key)?,
        keys: report.required("path", Some(keys).filter(|keys| !keys.is_empty()))?,
    })
}

pub(super) fn wire_metadata_path(path: &MetadataPath) -> MetadataKey {
    let MetadataPath { filter, keys } = path;
    let segment = |key: &Text| metadata_key::PathSegment { segment: Some(KeySegment::Key(key.to_string())) };
    MetadataKey { key: filter.to_string(), path: keys.iter().map(segment).collect() }
}
