use mesh_core::string_match::{Pattern, Regex, RegexError};

use crate::pb::matcher::string_matcher::MatchPattern;
use crate::pb::matcher::struct_matcher::path_segment::Segment;
use crate::pb::matcher::value_matcher::MatchPattern as ValuePattern;
use crate::pb::matcher::{NodeMatcher, StringMatcher, StructMatcher};
use crate::pb::{Kind, Node, Value};

/// Which clients are meant: `envoy.type.matcher.v3.NodeMatcher`. All of its parts must match.
///
/// Taken are all kinds of strings but `custom`, and of metadata strings, booleans and presence at a path of keys.
#[derive(Debug)]
pub(super) struct Matcher {
    id: Option<Pattern>,
    metadata: Vec<(Vec<String>, Wanted)>,
}

/// What stands in a node's metadata.
#[derive(Debug)]
enum Wanted {
    Text(Pattern),
    Flag(bool),
    Present(bool),
}

/// A matcher cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("`{0}` is missing in a node matcher")]
    Missing(&'static str),
    #[error("`{0}` is not supported in a node matcher")]
    Unsupported(&'static str),
    #[error(transparent)]
    Regex(#[from] RegexError),
}

impl Matcher {
    pub(super) fn new(matcher: &NodeMatcher) -> Result<Self, Error> {
        let id = matcher.node_id.as_ref().map(pattern).transpose()?;
        let metadata: Result<Vec<_>, _> = matcher.node_metadatas.iter().map(metadata).collect();
        Ok(Self { id, metadata: metadata? })
    }

    pub(super) fn is_match(&self, node: &Node) -> bool {
        let at = |path: &[String]| {
            let (first, rest) = path.split_first()?;
            let mut value = node.metadata.as_ref()?.fields.get(first)?;
            for key in rest {
                let Some(Kind::StructValue(inner)) = &value.kind else { return None };
                value = inner.fields.get(key)?;
            }
            Some(value)
        };
        self.id.as_ref().is_none_or(|id| id.is_match(&node.id))
            && self.metadata.iter().all(|(path, wanted)| wanted.is_match(at(path)))
    }
}

impl Wanted {
    fn is_match(&self, value: Option<&Value>) -> bool {
        match (self, value.and_then(|value| value.kind.as_ref())) {
            (Self::Text(pattern), Some(Kind::StringValue(text))) => pattern.is_match(text),
            (Self::Flag(wanted), Some(Kind::BoolValue(flag))) => wanted == flag,
            (Self::Present(wanted), value) => *wanted == value.is_some(),
            _ => false,
        }
    }
}

fn metadata(matcher: &StructMatcher) -> Result<(Vec<String>, Wanted), Error> {
    let keys = matcher.path.iter().map(|segment| match &segment.segment {
        Some(Segment::Key(key)) => Ok(key.clone()),
        None => Err(Error::Missing("path.key")),
    });
    let path = keys.collect::<Result<Vec<_>, _>>()?;
    if path.is_empty() {
        return Err(Error::Missing("path"));
    }
    let wanted = match matcher.value.as_ref().and_then(|value| value.match_pattern.as_ref()) {
        Some(ValuePattern::StringMatch(text)) => Wanted::Text(pattern(text)?),
        Some(ValuePattern::BoolMatch(flag)) => Wanted::Flag(*flag),
        Some(ValuePattern::PresentMatch(present)) => Wanted::Present(*present),
        Some(ValuePattern::NullMatch(_)) => return Err(Error::Unsupported("null_match")),
        Some(ValuePattern::DoubleMatch(_)) => return Err(Error::Unsupported("double_match")),
        Some(ValuePattern::ListMatch(_)) => return Err(Error::Unsupported("list_match")),
        Some(ValuePattern::OrMatch(_)) => return Err(Error::Unsupported("or_match")),
        None => return Err(Error::Missing("value")),
    };
    Ok((path, wanted))
}

fn pattern(matcher: &StringMatcher) -> Result<Pattern, Error> {
    let ignore_case = matcher.ignore_case;
    Ok(match matcher.match_pattern.as_ref().ok_or(Error::Missing("match_pattern"))? {
        MatchPattern::Exact(text) => Pattern::Exact { text: text.as_str().into(), ignore_case },
        MatchPattern::Prefix(text) => Pattern::Prefix { text: text.as_str().into(), ignore_case },
        MatchPattern::Suffix(text) => Pattern::Suffix { text: text.as_str().into(), ignore_case },
        MatchPattern::Contains(text) => Pattern::Contains { text: text.as_str().into(), ignore_case },
        // Envoy's expressions know no `ignore_case`; they say `(?i)` themselves.
        MatchPattern::SafeRegex(regex) => Pattern::Regex(Regex::new(&regex.regex)?),
        MatchPattern::Custom(_) => return Err(Error::Unsupported("custom")),
    })
}
