//! Envoy's `StringMatcher` ↔ [`Pattern`], `RegexMatchAndSubstitute` ↔ [`Substitution`].
//!
//! | field | how it is taken |
//! | --- | --- |
//! | `exact`, `prefix`, `suffix`, `contains`, `safe_regex`, `ignore_case` | honoured |
//! | `ignore_case` with `safe_regex` | without effect, as Envoy says |
//! | `safe_regex.google_re2` | honoured; its `max_program_size` gives a warning |
//! | `pattern`, `substitution` | honoured |
//! | an empty `prefix`, `suffix` or `contains`; `custom` | NACK |

use envoy_types::pb::envoy::r#type::matcher::v3::regex_matcher::{EngineType, GoogleRe2};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher, StringMatcher};
use mesh_core::string_match::{Pattern, Regex, Substitution};

use super::error::{Error, Report};

pub(super) fn pattern(report: &mut Report, matcher: &StringMatcher) -> Result<Pattern, Error> {
    let StringMatcher { ignore_case, match_pattern } = matcher;
    let ignore_case = *ignore_case;
    let not_empty = |field, text: &str| match text.is_empty() {
        true => Err(report.invalid(field, "is empty")),
        false => Ok(text.into()),
    };
    match report.required("match_pattern", match_pattern.as_ref())? {
        MatchPattern::Exact(text) => Ok(Pattern::Exact { text: text.as_str().into(), ignore_case }),
        MatchPattern::Prefix(text) => Ok(Pattern::Prefix { text: not_empty("prefix", text)?, ignore_case }),
        MatchPattern::Suffix(text) => Ok(Pattern::Suffix { text: not_empty("suffix", text)?, ignore_case }),
        MatchPattern::Contains(text) => Ok(Pattern::Contains { text: not_empty("contains", text)?, ignore_case }),
        MatchPattern::SafeRegex(matcher) => {
            report.within("safe_regex", |report| regex(report, matcher)).map(Pattern::Regex)
        }
        MatchPattern::Custom(_) => Err(Error::Unsupported { field: report.at("custom") }),
    }
}

pub(super) fn regex(report: &mut Report, matcher: &RegexMatcher) -> Result<Regex, Error> {
    let source = expression(report, matcher)?;
    Regex::new(source).map_err(|error| report.invalid("regex", error))
}

pub(super) fn substitution(report: &mut Report, wire: &RegexMatchAndSubstitute) -> Result<Substitution, Error> {
    let RegexMatchAndSubstitute { pattern, substitution } = wire;
    let pattern = report.required("pattern", pattern.as_ref())?;
    let pattern = report.within("pattern", |report| expression(report, pattern))?;
    Substitution::new(pattern, substitution).map_err(|error| report.invalid("substitution", error))
}

fn expression<'m>(report: &mut Report, matcher: &'m RegexMatcher) -> Result<&'m str, Error> {
    let RegexMatcher { regex, engine_type } = matcher;
    if let Some(EngineType::GoogleRe2(GoogleRe2 { max_program_size })) = engine_type {
        report.within("google_re2", |report| report.ignored("max_program_size", max_program_size));
    }
    if regex.is_empty() {
        return Err(Error::Missing { field: report.at("regex") });
    }
    Ok(regex)
}

pub(super) fn wire_pattern(pattern: &Pattern) -> StringMatcher {
    let (ignore_case, matched) = match pattern {
        Pattern::Exact { text, ignore_case } => (*ignore_case, MatchPattern::Exact(text.to_string())),
        Pattern::Prefix { text, ignore_case } => (*ignore_case, MatchPattern::Prefix(text.to_string())),
        Pattern::Suffix { text, ignore_case } => (*ignore_case, MatchPattern::Suffix(text.to_string())),
        Pattern::Contains { text, ignore_case } => (*ignore_case, MatchPattern::Contains(text.to_string())),
        Pattern::Regex(regex) => (false, MatchPattern::SafeRegex(wire_regex(regex.as_str()))),
    };
    StringMatcher { ignore_case, match_pattern: Some(matched) }
}

pub(super) fn wire_regex(source: &str) -> RegexMatcher {
    RegexMatcher { regex: source.to_owned(), engine_type: None }
}

pub(super) fn wire_substitution(substitution: &Substitution) -> RegexMatchAndSubstitute {
    let pattern = Some(wire_regex(substitution.pattern()));
    RegexMatchAndSubstitute { pattern, substitution: substitution.replacement().to_owned() }
}
