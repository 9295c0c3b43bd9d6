use std::collections::HashSet;

use http::{HeaderName, Method};

use crate::gateway::{GrpcMatch, GrpcMethod, HeaderCondition, HttpMatch, HttpPath, QueryCondition, ValueMatch};
use crate::request::{Condition, Field, HeaderMatch};
use crate::route::{PathMatch, QueryCondition as Asked, QueryMatch, RouteMatch};
use crate::string_match::Pattern;

/// A match of either kind of route.
pub(super) trait Match: Default {
    /// Whether the rule is one of gRPC, whose errors are told otherwise.
    const GRPC: bool;

    /// What decides between this match and others; the larger goes first.
    fn specificity(&self) -> Specificity;

    /// The requests that are meant.
    fn matcher(&self) -> RouteMatch;

    /// The prefix of the path that is asked for, if one is.
    fn prefix(&self) -> Option<&str>;
}

/// How special a match is, most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Specificity {
    /// Exact, by expression, or less.
    kind: u8,
    /// Length of the path, or of the service.
    first: usize,
    /// Length of the method of gRPC.
    second: usize,
    method: bool,
    headers: usize,
    query: usize,
}

const EXACT: u8 = 2;
const EXPRESSION: u8 = 1;
const LESS: u8 = 0;

impl Match for HttpMatch {
    const GRPC: bool = false;

    fn specificity(&self) -> Specificity {
        let (kind, first) = match &self.path {
            // No two exact paths of different length are for the same request.
            HttpPath::Exact(_) => (EXACT, 0),
            HttpPath::Regex(regex) => (EXPRESSION, length(regex.as_str())),
            HttpPath::Prefix(prefix) => (LESS, length(without_slash(prefix.as_str()))),
        };
        let query = self.query.iter().map(|query| query.name.as_str()).collect::<HashSet<_>>().len();
        let (method, headers) = (self.method.is_some(), first_of_each(&self.headers).count());
        Specificity { kind, first, second: 0, method, headers, query }
    }

    fn matcher(&self) -> RouteMatch {
        let mut matcher = RouteMatch::new(path(&self.path));
        match &self.method {
            // A request of CONNECT may have no path, which no prefix is for.
            Some(method) if *method == Method::CONNECT && matcher.path == PathMatch::prefix("/") => {
                matcher.path = PathMatch::Connect;
            }
            Some(method) => {
                matcher.headers.push(header(Field::Method, Pattern::exact(method.as_str())));
            }
            None => {}
        }
        matcher.headers.extend(headers(&self.headers));
        let mut named = HashSet::new();
        let first = self.query.iter().filter(|query| named.insert(query.name.as_str()));
        matcher.query.extend(first.map(|QueryCondition { name, value }| QueryMatch {
            name: name.clone(),
            condition: Asked::Text(pattern(value)),
        }));
        matcher
    }

    fn prefix(&self) -> Option<&str> {
        match &self.path {
            HttpPath::Prefix(prefix) => Some(without_slash(prefix.as_str())),
            HttpPath::Exact(_) | HttpPath::Regex(_) => None,
        }
    }
}

impl Match for GrpcMatch {
    const GRPC: bool = true;

    fn specificity(&self) -> Specificity {
        let (kind, first, second) = match &self.method {
            Some(GrpcMethod::Service(service)) => (EXACT, length(service.as_str()), 0),
            Some(GrpcMethod::Method(method)) => (EXACT, 0, length(method.as_str())),
            Some(GrpcMethod::Exact { service, method }) => (EXACT, length(service.as_str()), length(method.as_str())),
            Some(GrpcMethod::Regex(regex)) => (EXPRESSION, length(regex.as_str()), 0),
            None => (LESS, 0, 0),
        };
        let headers = first_of_each(&self.headers).count();
        Specificity { kind, first, second, method: false, headers, query: 0 }
    }

    fn matcher(&self) -> RouteMatch {
        let any = || PathMatch::prefix("/");
        let mut of_method = None;
        let path = match &self.method {
            Some(GrpcMethod::Service(service)) => PathMatch::prefix(&format!("/{service}/")),
            Some(GrpcMethod::Method(method)) => {
                let text = format!("/{method}").into();
                of_method = Some(header(Field::Path, Pattern::Suffix { text, ignore_case: false }));
                any()
            }
            Some(GrpcMethod::Exact { service, method }) => PathMatch::exact(&format!("/{service}/{method}")),
            Some(GrpcMethod::Regex(regex)) => PathMatch::Regex(regex.clone()),
            None => any(),
        };
        let headers = of_method.into_iter().chain(headers(&self.headers)).collect();
        RouteMatch { headers, grpc: true, ..RouteMatch::new(path) }
    }

    fn prefix(&self) -> Option<&str> {
        None
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn without_slash(prefix: &str) -> &str {
    prefix.trim_end_matches('/')
}

fn path(path: &HttpPath) -> PathMatch {
    match path {
        HttpPath::Exact(path) => PathMatch::exact(path.as_str()),
        HttpPath::Regex(regex) => PathMatch::Regex(regex.clone()),
        HttpPath::Prefix(prefix) => match without_slash(prefix.as_str()) {
            "" => PathMatch::prefix("/"),
            prefix => PathMatch::Separated { prefix: prefix.into(), ignore_case: false },
        },
    }
}

fn first_of_each(headers: &[HeaderCondition]) -> impl Iterator<Item = &HeaderCondition> {
    let mut named: HashSet<&HeaderName> = HashSet::new();
    headers.iter().filter(move |header| named.insert(&header.name))
}

fn headers(headers: &[HeaderCondition]) -> impl Iterator<Item = HeaderMatch> {
    first_of_each(headers).map(|HeaderCondition { name, value }| {
        let field = if *name == http::header::HOST { Field::Authority } else { Field::Header(name.clone()) };
        header(field, pattern(value))
    })
}

fn header(field: Field, pattern: Pattern) -> HeaderMatch {
    HeaderMatch::new(field, Condition::Text(pattern))
}

fn pattern(value: &ValueMatch) -> Pattern {
    match value {
        ValueMatch::Exact(text) => Pattern::Exact { text: text.clone(), ignore_case: false },
        ValueMatch::Regex(regex) => Pattern::Regex(regex.clone()),
    }
}
