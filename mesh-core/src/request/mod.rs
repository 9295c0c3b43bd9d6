//! The head of a request as the decisions of the mesh see it, what filters said of it, and the matchers of both: one truth for
//! routes and for policies. Everything is borrowed; a question allocates only where several values of one header are joined.
//!
//! ```
//! use http::{HeaderMap, Method};
//! use mesh_core::request::{Condition, HeaderMatch, Request};
//!
//! let headers = HeaderMap::from_iter([("x-tenant".parse()?, "42".parse()?)]);
//! let request = Request::new(&Method::GET, "shop.example", "/cart?item=7", &headers);
//! assert_eq!((request.path(), request.query_value("item")), ("/cart", Some("7")));
//!
//! let matcher = HeaderMatch::new("x-tenant".parse()?, Condition::Range { start: 40, end: 50 });
//! assert!(matcher.is_match(&request));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod field;
mod header;
mod metadata;
mod value;

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use field::{Field, InvalidField};
pub use header::{Condition, HeaderMatch};
pub use metadata::Metadata;
pub use value::{MetadataMatch, NumberMatch, ValueMatch};

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What stands before its headers.
    pub head: Head<'a>,
    /// Its headers, without `host`, which is the authority.
    pub headers: &'a HeaderMap,
}

/// What stands before the headers of a request, and where it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// `http` or `https`: what the client spoke, whatever it is carried over since.
    pub scheme: &'a str,
    /// The host asked for, with the port if one was given: `:authority`, or `host` in HTTP/1.
    pub authority: &'a str,
    /// Path and query: `:path`. Empty only with CONNECT.
    pub target: &'a str,
    /// Address of the client, where it is known.
    pub source: Option<IpAddr>,
    /// Who the client is, where that is known: the URI of its verified certificate.
    pub peer: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// The path, without query and fragment.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }

    /// The query, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        let target = self.target.split('#').next().unwrap_or_default();
        target.split_once('?').map(|(_, query)| query)
    }

    /// What a field holds in this head with these headers; several values are joined as Envoy joins them.
    #[must_use]
    pub fn text<'b>(&self, field: &Field, headers: &'b HeaderMap) -> Option<Cow<'b, str>>
    where
        'a: 'b,
    {
        match field {
            Field::Method => Some(Cow::Borrowed(self.method.as_str())),
            Field::Scheme => Some(Cow::Borrowed(self.scheme)),
            Field::Authority => Some(Cow::Borrowed(self.authority)),
            Field::Path => Some(Cow::Borrowed(self.target)).filter(|target| !target.is_empty()),
            Field::Header(name) => joined(headers, name),
        }
    }
}

impl<'a> Request<'a> {
    /// A plain-text request from an unknown address.
    #[must_use]
    pub fn new(method: &'a Method, authority: &'a str, target: &'a str, headers: &'a HeaderMap) -> Self {
        Self { head: Head { method, scheme: "http", authority, target, source: None, peer: None }, headers }
    }

    /// As [`Head::path`].
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// As [`Head::query`].
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.head.query()
    }

    /// As [`Head::text`].
    #[must_use]
    pub fn text(&self, field: &Field) -> Option<Cow<'a, str>> {
        self.head.text(field, self.headers)
    }

    /// The first value of a field, if it is text.
    #[must_use]
    pub fn first(&self, field: &Field) -> Option<&'a str> {
        match field {
            Field::Method => Some(self.head.method.as_str()),
            Field::Scheme => Some(self.head.scheme),
            Field::Authority => Some(self.head.authority),
            Field::Path => Some(self.head.target).filter(|target| !target.is_empty()),
            Field::Header(name) => std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok(),
        }
    }

    /// The first value of a query parameter, as it was sent; empty when it has none.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<&'a str> {
        let parameters = self.query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty());
        let mut parameters = parameters.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")));
        parameters.find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The first value of a cookie, without quotes around it.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.cookies(name).next()
    }

    /// Every value of a cookie, without quotes around it. A service may take another one than the first.
    pub fn cookies(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let sent = self.headers.get_all(COOKIE).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
        let cookies = sent.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        let values = cookies.filter(move |(key, _)| *key == name).map(|(_, value)| value);
        values.map(|value| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    }

    /// Whether it is a call of gRPC: `application/grpc`, or that with a suffix after `+`.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
    }
}

/// The values of a header as one text. Bytes that are no UTF-8 are seen as replacement characters.
pub(crate) fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = values.next()?;
    // RFC 9113, 8.2.3: the parts of a split cookie belong together with another separator than a list has.
    let separator = if *name == COOKIE { "; " } else { "," };
    Some(values.fold(first, |joined, value| Cow::Owned(format!("{joined}{separator}{value}"))))
}

#[cfg(test)]
mod tests;
