use std::borrow::Cow;

use http::header::HeaderName;
use http::uri::PathAndQuery;
use http::{Uri, request};
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::limits::MAX_TOKENS;
use super::{Failure, Provider, TokenHeader};
use crate::name::Text;
use crate::request::Request;

/// Where one token was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Header(HeaderName),
    Param(Text),
    Cookie,
}

/// A token as it was found, and whose tokens may stand there.
#[derive(Debug)]
pub(super) struct Found<'a, 'b> {
    pub(super) text: Cow<'a, str>,
    pub(super) place: Spot<'b>,
    pub(super) providers: &'b [usize],
}

/// As [`Place`], borrowed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spot<'b> {
    Header(&'b HeaderName),
    Param(&'b Text),
    Cookie,
}

impl Spot<'_> {
    pub(super) fn to_place(self) -> Place {
        match self {
            Self::Header(name) => Place::Header(name.clone()),
            Self::Param(name) => Place::Param(name.clone()),
            Self::Cookie => Place::Cookie,
        }
    }
}

/// Tokens of a request.
pub(super) type Tokens<'a, 'b> = SmallVec<[Found<'a, 'b>; 2]>;

/// The places where some providers have their tokens; each place stands there once.
#[derive(Debug, Default)]
pub(super) struct Finder {
    headers: Vec<(TokenHeader, Vec<usize>)>,
    params: Vec<(Text, Vec<usize>)>,
    cookies: Vec<(Text, Vec<usize>)>,
}

impl Finder {
    pub(super) fn new<'a>(providers: impl IntoIterator<Item = (usize, &'a Provider)>) -> Self {
        let mut finder = Self::default();
        for (at, provider) in providers {
            let places = provider.places.or_default();
            places.headers.into_iter().for_each(|header| add(&mut finder.headers, header, at));
            places.params.into_iter().for_each(|param| add(&mut finder.params, param, at));
            places.cookies.into_iter().for_each(|cookie| add(&mut finder.cookies, cookie, at));
        }
        // Envoy's order, by which it depends of which of several bad tokens the client hears.
        finder.headers.sort_by(|(one, _), (other, _)| {
            let key = |header: &TokenHeader| format!("{}{}", header.name, header.prefix);
            key(one).cmp(&key(other))
        });
        finder.params.sort();
        finder.cookies.sort();
        finder
    }

    /// The tokens of a request, the last place first. What stands in a place of `taken` has been taken from the request.
    ///
    /// Each value of a header, of a parameter and of a cookie is a token: which of them a service takes is not known. Envoy
    /// looks at the first value of the latter two only.
    pub(super) fn find<'a, 'b>(&'b self, request: &Request<'a>, taken: &[Place]) -> Result<Tokens<'a, 'b>, Failure> {
        let mut tokens = Tokens::new();
        for (name, providers) in &self.headers {
            if taken.iter().any(|place| matches!(place, Place::Header(taken) if *taken == name.name)) {
                continue;
            }
            let values = request.headers.get_all(&name.name).iter();
            let texts = values.filter_map(|value| after_prefix(value.as_bytes(), name.prefix.as_str()));
            // What is not text is no token, and there is one all the same.
            let texts = texts.map(|text| Cow::Borrowed(std::str::from_utf8(text).unwrap_or_default()));
            let place = Spot::Header(&name.name);
            tokens.extend(texts.map(|text| Found { text, place, providers }).take(MAX_TOKENS + 1));
        }
        for (name, providers) in &self.params {
            if taken.iter().any(|place| matches!(place, Place::Param(taken) if taken == name)) {
                continue;
            }
            let values = params(request, name.as_str()).take(MAX_TOKENS + 1);
            tokens.extend(values.map(|text| Found { text, place: Spot::Param(name), providers }));
        }
        for (name, providers) in &self.cookies {
            let values = request.cookies(name.as_str()).map(Cow::Borrowed).take(MAX_TOKENS + 1);
            tokens.extend(values.map(|text| Found { text, place: Spot::Cookie, providers }));
        }
        if tokens.len() > MAX_TOKENS {
            return Err(Failure::TooMany);
        }
        tokens.reverse();
        Ok(tokens)
    }
}

fn add<T: PartialEq>(list: &mut Vec<(T, Vec<usize>)>, place: T, provider: usize) {
    match list.iter_mut().find(|(known, _)| *known == place) {
        Some((_, providers)) if providers.contains(&provider) => {}
        Some((_, providers)) => providers.push(provider),
        None => list.push((place, vec![provider])),
    }
}

/// What stands behind a prefix, from the first byte on that a token can begin with; all of it if there is none. `None` where
/// the prefix is not.
fn after_prefix<'a>(value: &'a [u8], prefix: &str) -> Option<&'a [u8]> {
    if prefix.is_empty() {
        return Some(value);
    }
    let at = value.windows(prefix.len()).position(|part| part == prefix.as_bytes())?;
    let rest = &value[at + prefix.len()..];
    let begins = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    Some(rest.iter().position(begins).map_or(value, |at| &rest[at..]))
}

/// The values of a parameter, whose name and values may be percent-encoded.
fn params<'a>(request: &Request<'a>, wanted: &str) -> impl Iterator<Item = Cow<'a, str>> {
    let pairs = request.query().unwrap_or_default().split('&');
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let values = pairs.filter(move |(name, _)| is_name(name, wanted)).map(|(_, value)| value);
    values.map(|value| percent_decode_str(value).decode_utf8().unwrap_or_default())
}

fn is_name(given: &str, wanted: &str) -> bool {
    given == wanted || (given.contains('%') && percent_decode_str(given).eq(wanted.bytes()))
}

/// Takes tokens from a request. A header goes whole, a parameter with every value that it has.
pub(super) fn strip(head: &mut request::Parts, place: &Place) {
    match place {
        Place::Header(name) => {
            head.headers.remove(name);
        }
        Place::Param(name) => {
            if let Some(uri) = without_param(&head.uri, name.as_str()) {
                head.uri = uri;
            }
        }
        Place::Cookie => {}
    }
}

fn without_param(uri: &Uri, name: &str) -> Option<Uri> {
    let query = uri.query()?;
    let other = |pair: &&str| !is_name(pair.split_once('=').map_or(*pair, |(name, _)| name), name);
    let rest: Vec<&str> = query.split('&').filter(other).collect();
    let target = match rest.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), rest.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}
