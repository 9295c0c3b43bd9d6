//! Envoy's `MetadataMatcher` ↔ [`MetadataMatch`], and its `MetadataKey` ↔ [`MetadataPath`].
//!
//! | field | how it is taken |
//! | --- | --- |
//! | **MetadataMatcher** `filter`, `path`, `value`, `invert` | honoured; without a filter, a path or a value: NACK |
//! | **ValueMatcher** all kinds | honoured, to a depth of [`MAX_CONDITION_DEPTH`] |
//! | **MetadataKey** `key`, `path` of keys | honoured; without a path, or with an index in it: NACK |

use envoy_types::pb::envoy::r#type::matcher::v3 as wire;
use envoy_types::pb::envoy::r#type::matcher::v3::double_matcher::MatchPattern as Number;
use envoy_types::pb::envoy::r#type::matcher::v3::list_matcher::MatchPattern as List;
use envoy_types::pb::envoy::r#type::matcher::v3::metadata_matcher::PathSegment;
use envoy_types::pb::envoy::r#type::matcher::v3::metadata_matcher::path_segment::Segment;
use envoy_types::pb::envoy::r#type::matcher::v3::value_matcher::{MatchPattern, NullMatch};
use envoy_types::pb::envoy::r#type::metadata::v3::MetadataKey;
use envoy_types::pb::envoy::r#type::metadata::v3::metadata_key;
use envoy_types::pb::envoy::r#type::metadata::v3::metadata_key::path_segment::Segment as KeySegment;
use envoy_types::pb::envoy::r#type::v3::DoubleRange;
use mesh_core::companion::ext_authz::{MetadataMatch, NumberMatch, ValueMatch};
use mesh_core::name::Text;
use mesh_core::route::MetadataPath;

use super::error::{Error, Report};
use super::string_matcher::{pattern, wire_pattern};
use crate::limits::MAX_CONDITION_DEPTH;

pub(super) fn metadata_match(report: &mut Report, matcher: &wire::MetadataMatcher) -> Result<MetadataMatch, Error> {
    let wire::MetadataMatcher { filter, path, value, invert } = matcher;
    let value = report.required("value", value.as_ref())?;
    let path = report.each("path", path, |report, PathSegment { segment }| {
        let Segment::Key(key) = report.required("segment", segment.as_ref())?;
        report.named("key", key)
    })?;
    Ok(MetadataMatch {
        filter: report.named("filter", filter)?,
        path: at_least_one(report, path)?,
        value: report.within("value", |report| value_match(report, value, 0))?,
        invert: *invert,
    })
}

fn at_least_one(report: &Report, path: Vec<Text>) -> Result<Vec<Text>, Error> {
    report.required("path", Some(path).filter(|path| !path.is_empty()))
}

fn value_match(report: &mut Report, matcher: &wire::ValueMatcher, depth: usize) -> Result<ValueMatch, Error> {
    if depth == MAX_CONDITION_DEPTH {
        return Err(report.invalid("match_pattern", "stands too deep within others"));
    }
    match report.required("match_pattern", matcher.match_pattern.as_ref())? {
        MatchPattern::NullMatch(NullMatch {}) => Ok(ValueMatch::Null),
        MatchPattern::BoolMatch(wanted) => Ok(ValueMatch::Bool(*wanted)),
        MatchPattern::PresentMatch(present) => Ok(ValueMatch::Present(*present)),
        MatchPattern::StringMatch(matcher) => {
            report.within("string_match", |report| pattern(report, matcher)).map(ValueMatch::Text)
        }
        MatchPattern::DoubleMatch(wire::DoubleMatcher { match_pattern }) => {
            match report.required("double_match", match_pattern.as_ref())? {
                Number::Exact(number) => Ok(ValueMatch::Number(NumberMatch::Exact(*number))),
                Number::Range(DoubleRange { start, end }) => {
                    Ok(ValueMatch::Number(NumberMatch::Range { start: *start, end: *end }))
                }
            }
        }
        MatchPattern::ListMatch(matcher) => {
            let List::OneOf(element) = report.required("list_match", matcher.match_pattern.as_ref())?;
            let element = report.within("list_match.one_of", |report| value_match(report, element, depth + 1))?;
            Ok(ValueMatch::Contains(Box::new(element)))
        }
        MatchPattern::OrMatch(wire::OrMatcher { value_matchers }) => report
            .within("or_match", |report| {
                report.each("value_matchers", value_matchers, |report, matcher| value_match(report, matcher, depth + 1))
            })
            .map(ValueMatch::Or),
    }
}

pub(super) fn wire_metadata_match(matcher: &MetadataMatch) -> wire::MetadataMatcher {
    let MetadataMatch { filter, path, value, invert } = matcher;
    let segment = |key: &Text| PathSegment { segment: Some(Segment::Key(key.to_string())) };
    wire::MetadataMatcher {
        filter: filter.to_string(),
        path: path.iter().map(segment).collect(),
        value: Some(wire_value_match(value)),
        invert: *invert,
    }
}

fn wire_value_match(matcher: &ValueMatch) -> wire::ValueMatcher {
    let matched = match matcher {
        ValueMatch::Null => MatchPattern::NullMatch(NullMatch {}),
        ValueMatch::Bool(wanted) => MatchPattern::BoolMatch(*wanted),
        ValueMatch::Present(present) => MatchPattern::PresentMatch(*present),
        ValueMatch::Text(pattern) => MatchPattern::StringMatch(wire_pattern(pattern)),
        ValueMatch::Number(number) => {
            let number = match *number {
                NumberMatch::Exact(number) => Number::Exact(number),
                NumberMatch::Range { start, end } => Number::Range(DoubleRange { start, end }),
            };
            MatchPattern::DoubleMatch(wire::DoubleMatcher { match_pattern: Some(number) })
        }
        ValueMatch::Contains(element) => {
            let element = List::OneOf(Box::new(wire_value_match(element)));
            MatchPattern::ListMatch(Box::new(wire::ListMatcher { match_pattern: Some(element) }))
        }
        ValueMatch::Or(some) => {
            let value_matchers = some.iter().map(wire_value_match).collect();
            MatchPattern::OrMatch(wire::OrMatcher { value_matchers })
        }
    };
    wire::ValueMatcher { match_pattern: Some(matched) }
}

pub(super) fn metadata_path(report: &mut Report, wire: &MetadataKey) -> Result<MetadataPath, Error> {
    let MetadataKey { key, path } = wire;
    let keys = report.each("path", path, |report, metadata_key::PathSegment { segment }| {
        match report.required("segment", segment.as_ref())? {
            KeySegment::Key(key) => report.named("key", key),
            KeySegment::Index(_) => Err(Error::Unsupported { field: report.at("index") }),
        }
    })?;
    Ok(MetadataPath { filter: report.named("key", key)?, keys: at_least_one(report, keys)? })
}

pub(super) fn wire_metadata_path(path: &MetadataPath) -> MetadataKey {
    let MetadataPath { filter, keys } = path;
    let segment = |key: &Text| metadata_key::PathSegment { segment: Some(KeySegment::Key(key.to_string())) };
    MetadataKey { key: filter.to_string(), path: keys.iter().map(segment).collect() }
}
