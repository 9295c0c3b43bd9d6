use std::fmt;

use crate::name::Text;

/// A path with wildcards: Envoy's `UriTemplateMatchConfig`. Matched against a path without its query, in time linear in it.
///
/// | segment | stands for |
/// | --- | --- |
/// | `text` | itself |
/// | `*`, `{name}`, `{name=*}` | one segment that is not empty |
/// | `*text`, `text{name}text` | one segment with this beginning and end, and something between |
/// | `**`, `{name=**}` | anything, nothing and slashes included; no wildcard may follow |
/// | `{name=a/*}` | the segments within it |
///
/// Unlike Envoy's, a wildcard stands for any character, not only those that RFC 3986 allows in paths without an escape: a rule
/// that denies `/admin/*` denies `/admin/a*b`. Compared by its source.
#[derive(Clone)]
pub struct PathTemplate {
    source: Text,
    /// What comes before `**`, or all.
    segments: Vec<Segment>,
    /// What a path must end with behind `**`.
    tail: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Text),
    One { prefix: Text, suffix: Text },
}

/// A template is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{template}` is no template of a path: {reason}")]
pub struct TemplateError {
    template: String,
    reason: &'static str,
}

/// Most named variables of a template.
const MAX_VARIABLES: usize = 5;
/// Longest name of a variable.
const MAX_NAME: usize = 16;

impl PathTemplate {
    /// Reads a template in Envoy's notation.
    ///
    /// # Errors
    /// [`TemplateError`], when it is malformed.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        let refused = |reason| TemplateError { template: source.to_owned(), reason };
        let mut parser = Parser::default();
        let rest = source.strip_prefix('/').ok_or_else(|| refused("it does not begin with a slash"))?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("only printable ASCII is allowed"));
        }
        parser.pattern(rest).map_err(refused)?;
        Ok(Self { source: source.into(), segments: parser.segments, tail: parser.tail.map(Text::from) })
    }

    /// Reads a template in Istio's notation, where `{*}` stands for one segment and `{**}`, behind which no other may come, for
    /// any number of them.
    ///
    /// # Errors
    /// [`TemplateError`], when it is malformed.
    pub fn istio(source: &str) -> Result<Self, TemplateError> {
        let refused = |reason| TemplateError { template: source.to_owned(), reason };
        let plain = |segment: &str| !segment.contains(['{', '}', '*']);
        if !source.split('/').all(|segment| matches!(segment, "{*}" | "{**}") || plain(segment)) {
            return Err(refused("a segment is neither `{*}` nor `{**}` nor free of braces and stars"));
        }
        let envoy = source.replace("{*}", "*").replace("{**}", "**");
        Self::new(&envoy).map_err(|TemplateError { reason, .. }| refused(reason))
    }

    /// Whether a text is meant as a template by Istio.
    #[must_use]
    pub fn is_istio(text: &str) -> bool {
        text.contains("{*}") || text.contains("{**}")
    }

    /// The template in Envoy's notation.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.source.as_str()
    }

    /// What every path that matches begins with.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        let source = self.as_str();
        source.split(['*', '{']).next().unwrap_or(source)
    }

    /// Whether a path matches.
    #[must_use]
    pub fn is_match(&self, path: &str) -> bool {
        let Some(mut rest) = path.strip_prefix('/') else { return false };
        let mut segments = self.segments.iter().peekable();
        while let Some(segment) = segments.next() {
            let last = segments.peek().is_none() && self.tail.is_none();
            let (this, behind) = match rest.split_once('/') {
                Some((this, behind)) => (this, Some(behind)),
                None => (rest, None),
            };
            if !segment.is_match(this) || behind.is_some() == last {
                return false;
            }
            rest = behind.unwrap_or_default();
        }
        match &self.tail {
            Some(tail) => rest.ends_with(tail.as_str()),
            None => rest.is_empty(),
        }
    }
}

impl Segment {
    fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::One { prefix, suffix } => {
                let inner = text.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_suffix(suffix.as_str()));
                inner.is_some_and(|inner| !inner.is_empty())
            }
        }
    }
}

#[derive(Default)]
struct Parser {
    segments: Vec<Segment>,
    tail: Option<String>,
    names: Vec<String>,
}

impl Parser {
    fn pattern(&mut self, pattern: &str) -> Result<(), &'static str> {
        if pattern.is_empty() {
            return Ok(());
        }
        let mut rest = Some(pattern);
        while let Some(pattern) = rest {
            let (segment, behind) = split_segment(pattern)?;
            rest = behind;
            match (segment, behind) {
                // A slash at the very end is a segment of its own: the empty one.
                ("", None) => self.literal(""),
                (segment, None) => self.segment(segment)?,
                (segment, Some(_)) if ends_only(segment) => return Err("text behind a star must be the last"),
                (segment, Some(_)) => self.segment(segment)?,
            }
        }
        Ok(())
    }

    fn segment(&mut self, segment: &str) -> Result<(), &'static str> {
        if let Some(suffix) = segment.strip_prefix("**") {
            return self.glob(literal_or_empty(suffix)?);
        }
        if let Some(suffix) = segment.strip_prefix('*') {
            return self.one("", literal_or_empty(suffix)?);
        }
        let Some((prefix, variable)) = segment.split_once('{') else {
            self.literal(literal(segment)?);
            return Ok(());
        };
        let prefix = literal_or_empty(prefix)?;
        let (variable, suffix) = variable.split_once('}').ok_or("a brace is not closed")?;
        let suffix = literal_or_empty(suffix)?;
        let (name, inner) = variable.split_once('=').unwrap_or((variable, "*"));
        self.name(name)?;
        match inner {
            "*" => self.one(prefix, suffix),
            _ if !(prefix.is_empty() && suffix.is_empty()) => {
                Err("a variable with text around it stands for one segment")
            }
            inner => inner.split('/').try_for_each(|segment| match segment {
                "**" => self.glob(""),
                "*" => self.one("", ""),
                segment => {
                    self.literal(literal(segment)?);
                    Ok(())
                }
            }),
        }
    }

    fn name(&mut self, name: &str) -> Result<(), &'static str> {
        let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !begins || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("a variable has no proper name");
        }
        if name.len() > MAX_NAME {
            return Err("the name of a variable is longer than 16");
        }
        if self.names.iter().any(|known| known == name) {
            return Err("a variable stands there twice");
        }
        if self.names.len() == MAX_VARIABLES {
            return Err("there are more than 5 variables");
        }
        self.names.push(name.to_owned());
        Ok(())
    }

    fn glob(&mut self, suffix: &str) -> Result<(), &'static str> {
        match self.tail.replace(suffix.to_owned()) {
            None => Ok(()),
            Some(_) => Err("a wildcard stands behind `**`"),
        }
    }

    fn one(&mut self, prefix: &str, suffix: &str) -> Result<(), &'static str> {
        if self.tail.is_some() {
            return Err("a wildcard stands behind `**`");
        }
        self.segments.push(Segment::One { prefix: prefix.into(), suffix: suffix.into() });
        Ok(())
    }

    fn literal(&mut self, text: &str) {
        match &mut self.tail {
            Some(tail) => {
                tail.push('/');
                tail.push_str(text);
            }
            None => self.segments.push(Segment::Literal(text.into())),
        }
    }
}

/// Whether a segment is a star and text, which Envoy takes at the end of a template only.
fn ends_only(segment: &str) -> bool {
    segment.starts_with('*') && !matches!(segment, "*" | "**")
}

/// The first segment and what stands behind its slash. A slash within braces does not count.
fn split_segment(pattern: &str) -> Result<(&str, Option<&str>), &'static str> {
    let mut open = false;
    for (at, character) in pattern.char_indices() {
        match character {
            '{' if open => return Err("braces stand within braces"),
            '{' => open = true,
            '}' => open = false,
            '/' if !open => return Ok((pattern.get(..at).unwrap_or_default(), pattern.get(at + 1..))),
            _ => {}
        }
    }
    Ok((pattern, None))
}

/// Text of the characters that Envoy allows in templates.
fn literal(text: &str) -> Result<&str, &'static str> {
    match text.is_empty() {
        true => Err("a segment is empty"),
        false => literal_or_empty(text),
    }
}

fn literal_or_empty(text: &str) -> Result<&str, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte);
    match text.bytes().all(allowed) {
        true => Ok(text),
        false => Err("a character is not allowed in text"),
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PathTemplate").field(&self.source).finish()
    }
}

impl PartialEq for PathTemplate {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for PathTemplate {}
