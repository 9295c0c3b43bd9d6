//! The routes of one host by what their matchers ask for, so that a lookup tests the few that can match and not all.
//!
//! The index only leaves out routes that cannot match. Which of the others is the first that does is asked of their matchers
//! themselves, so that a table means the same with it and without.

mod bucket;
mod literal;
mod prefixes;

use std::collections::HashMap;

use http::Method;
use smallvec::SmallVec;

use self::bucket::Bucket;
use self::literal::literal_prefix;
use self::prefixes::Prefixes;
use super::{PathMatch, Route};
use crate::request::Request;

/// So many routes are tested one after the other faster than they are looked up.
const FEW: usize = 8;

/// An index of the routes of a host. Routes are known by their position.
#[derive(Debug, Clone, Default)]
pub(super) struct RouteIndex {
    /// `None` where there are few routes.
    paths: Option<Box<Paths>>,
}

#[derive(Debug, Clone)]
struct Paths {
    as_written: Texts,
    /// Matchers that take letters in either case, in lower case.
    folded: Texts,
    connect: Bucket,
}

#[derive(Debug, Clone)]
struct Texts {
    exact: HashMap<Box<[u8]>, Bucket>,
    prefixes: Prefixes,
}

/// One question to an index, and the best answer so far.
struct Search<'s> {
    routes: &'s [Route],
    request: &'s Request<'s>,
    path: &'s str,
    random: u64,
    found: Option<usize>,
    #[cfg(test)]
    tested: usize,
}

impl RouteIndex {
    pub(super) fn new(routes: &[Route]) -> Self {
        Self { paths: (routes.len() > FEW).then(|| Box::new(Paths::new(routes))) }
    }

    /// The first of the routes that matches. They must be those that the index was made of.
    pub(super) fn find(&self, routes: &[Route], request: &Request<'_>, path: &str, random: u64) -> Option<usize> {
        let mut search = Search::new(routes, request, path, random);
        match &self.paths {
            Some(paths) => paths.visit(&mut search),
            None => search.visit(0..routes.len()),
        }
        search.found
    }
}

impl Paths {
    fn new(routes: &[Route]) -> Self {
        let (mut as_written, mut folded, mut connect) = (Positions::default(), Positions::default(), Vec::new());
        for (at, route) in routes.iter().enumerate() {
            match &route.matcher.path {
                PathMatch::Exact { path, ignore_case: false } => as_written.exact(path.as_str().into(), at),
                PathMatch::Exact { path, .. } => folded.exact(path.as_str().to_ascii_lowercase(), at),
                PathMatch::Prefix { prefix, ignore_case: false }
                | PathMatch::Separated { prefix, ignore_case: false } => as_written.prefix(prefix.as_str().into(), at),
                PathMatch::Prefix { prefix, .. } | PathMatch::Separated { prefix, .. } => {
                    folded.prefix(prefix.as_str().to_ascii_lowercase(), at);
                }
                PathMatch::Regex(regex) => as_written.prefix(literal_prefix(regex.as_str()), at),
                PathMatch::Connect => connect.push(at),
            }
        }
        Self {
            as_written: as_written.index(routes),
            folded: folded.index(routes),
            connect: Bucket::new(routes, connect),
        }
    }

    fn visit(&self, search: &mut Search<'_>) {
        if search.request.head.method == Method::CONNECT {
            self.connect.visit(search);
        }
        let path = search.path;
        self.as_written.visit(path.as_bytes(), search);
        if !self.folded.is_empty() {
            let mut folded: SmallVec<[u8; 256]> = SmallVec::from_slice(path.as_bytes());
            folded.make_ascii_lowercase();
            self.folded.visit(&folded, search);
        }
    }
}

impl Texts {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }

    fn visit(&self, path: &[u8], search: &mut Search<'_>) {
        if let Some(bucket) = self.exact.get(path) {
            bucket.visit(search);
        }
        self.prefixes.visit(path, search);
    }
}

impl<'s> Search<'s> {
    fn new(routes: &'s [Route], request: &'s Request<'s>, path: &'s str, random: u64) -> Self {
        Self {
            routes,
            request,
            path,
            random,
            found: None,
            #[cfg(test)]
            tested: 0,
        }
    }

    /// Tests routes in the order in which they stand, as long as one of them could be a better answer.
    fn visit(&mut self, positions: impl IntoIterator<Item = usize>) {
        for at in positions {
            if !self.may_improve(at) {
                return;
            }
            #[cfg(test)]
            {
                self.tested += 1;
            }
            let route = self.routes.get(at);
            if route.is_some_and(|route| route.matcher.is_match(self.request, self.path, self.random)) {
                self.found = Some(at);
                return;
            }
        }
    }

    /// Whether a route that stands here would be taken instead of what has been found.
    fn may_improve(&self, at: usize) -> bool {
        self.found.is_none_or(|found| at < found)
    }
}

/// What an index is made of: positions by text.
#[derive(Default)]
struct Positions {
    exact: HashMap<Box<[u8]>, Vec<usize>>,
    prefixes: HashMap<Box<[u8]>, Vec<usize>>,
}

impl Positions {
    fn exact(&mut self, text: String, at: usize) {
        self.exact.entry(text.into_bytes().into()).or_default().push(at);
    }

    fn prefix(&mut self, text: String, at: usize) {
        self.prefixes.entry(text.into_bytes().into()).or_default().push(at);
    }

    fn index(self, routes: &[Route]) -> Texts {
        let bucket = |(text, positions)| (text, Bucket::new(routes, positions));
        Texts {
            exact: self.exact.into_iter().map(bucket).collect(),
            prefixes: Prefixes::new(self.prefixes.into_iter().map(bucket).collect()),
        }
    }
}

#[cfg(test)]
mod tests;
