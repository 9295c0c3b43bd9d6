//! Envoy's `HeaderMatcher` ↔ [`HeaderMatch`].
//!
//! | field | how it is taken |
//! | --- | --- |
//! | `name`, `string_match`, `range_match`, `present_match`, `invert_match`, `treat_missing_header_as_empty` | honoured; nothing asked is presence |
//! | the deprecated `exact_match`, `safe_regex_match`, `prefix_match`, `suffix_match`, `contains_match` | honoured, and written as `string_match` |
//! | an empty prefix, suffix or part; a pseudo-header other than method, scheme, authority and path | NACK |

use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier as Specifier;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::v3::Int64Range;
use mesh_core::request::{Condition, Field, HeaderMatch};

use super::error::{Error, Report};
use super::string_matcher::{pattern, wire_pattern};

pub(super) fn header_match(report: &mut Report, matcher: &HeaderMatcher) -> Result<HeaderMatch, Error> {
    let HeaderMatcher { name, invert_match, treat_missing_header_as_empty, header_match_specifier } = matcher;
    Ok(HeaderMatch {
        name: field(report, "name", name)?,
        condition: condition(report, header_match_specifier.as_ref())?,
        invert: *invert_match,
        missing_as_empty: *treat_missing_header_as_empty,
    })
}

/// The name of a header or pseudo-header.
pub(super) fn field(report: &Report, field: &str, name: &str) -> Result<Field, Error> {
    name.parse().map_err(|error| report.invalid(field, error))
}

fn condition(report: &mut Report, specifier: Option<&Specifier>) -> Result<Condition, Error> {
    let mut old = |field: &str, matched: MatchPattern| {
        let matcher = StringMatcher { ignore_case: false, match_pattern: Some(matched) };
        report.within(field, |report| pattern(report, &matcher))
    };
    let text = match specifier {
        None => return Ok(Condition::Present(true)),
        Some(Specifier::PresentMatch(present)) => return Ok(Condition::Present(*present)),
        Some(Specifier::RangeMatch(Int64Range { start, end })) => {
            return Ok(Condition::Range { start: *start, end: *end });
        }
        Some(Specifier::StringMatch(matcher)) => report.within("string_match", |report| pattern(report, matcher)),
        Some(Specifier::ExactMatch(text)) => old("exact_match", MatchPattern::Exact(text.clone())),
        Some(Specifier::PrefixMatch(text)) => old("prefix_match", MatchPattern::Prefix(text.clone())),
        Some(Specifier::SuffixMatch(text)) => old("suffix_match", MatchPattern::Suffix(text.clone())),
        Some(Specifier::ContainsMatch(text)) => old("contains_match", MatchPattern::Contains(text.clone())),
        Some(Specifier::SafeRegexMatch(regex)) => old("safe_regex_match", MatchPattern::SafeRegex(regex.clone())),
    };
    text.map(Condition::Text)
}

pub(super) fn wire_header_match(matcher: &HeaderMatch) -> HeaderMatcher {
    let HeaderMatch { name, condition, invert, missing_as_empty } = matcher;
    let specifier = match condition {
        Condition::Present(present) => Specifier::PresentMatch(*present),
        Condition::Text(pattern) => Specifier::StringMatch(wire_pattern(pattern)),
        Condition::Range { start, end } => Specifier::RangeMatch(Int64Range { start: *start, end: *end }),
    };
    HeaderMatcher {
        name: name.to_string(),
        invert_match: *invert,
        treat_missing_header_as_empty: *missing_as_empty,
        header_match_specifier: Some(specifier),
    }
}
