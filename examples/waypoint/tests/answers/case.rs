//! What is asked, and what is to be answered, as it is written in files:
//!
//! ```text
//! # a comment
//! web 10.1.0.1:80 GET /copied x-a: 1; host: shop
//!   200 carts:8080 GET /copied host: shop
//!   + shadow:8080 GET /copied host: shop-shadow
//! ```
//!
//! The first line has who asks, the authority of the tunnel, method, path and headers. Below it is the answer: the status, the
//! headers that matter, and the body, in which a server says its name, port, what it was asked and by which headers. `closed`
//! stands for none, and `…` at the end for whatever else is said. `ours` or `envoy` before it is for one of them, where they differ for a reason that the comment says. A line
//! with a plus is what some server sees too.

use std::path::Path;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Ours,
    Envoy,
}

/// A request, and its answers.
#[derive(Debug)]
pub struct Case {
    /// As it is written.
    pub text: String,
    pub request: Request,
    answers: Vec<(Option<Peer>, String)>,
    /// What servers see too.
    pub also: Vec<String>,
}

/// A request through a tunnel.
#[derive(Debug)]
pub struct Request {
    pub from: String,
    pub authority: String,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Case {
    /// The cases of a file.
    pub fn read(file: &Path) -> Vec<Self> {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut cases: Vec<Self> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let Some(answer) = line.strip_prefix("  ") else {
                cases.push(Self {
                    text: line.to_owned(),
                    request: Request::read(line),
                    answers: Vec::new(),
                    also: Vec::new(),
                });
                continue;
            };
            let case = cases.last_mut().unwrap();
            if let Some(seen) = answer.strip_prefix("+ ") {
                case.also.push(seen.to_owned());
            } else if let Some(answer) = answer.strip_prefix("ours ") {
                case.answers.push((Some(Peer::Ours), answer.to_owned()));
            } else if let Some(answer) = answer.strip_prefix("envoy ") {
                case.answers.push((Some(Peer::Envoy), answer.to_owned()));
            } else {
                case.answers.push((None, answer.to_owned()));
            }
        }
        assert!(!cases.is_empty(), "{}", file.display());
        cases
    }

    /// What a waypoint is to answer.
    pub fn answer(&self, peer: Peer) -> &str {
        let own = self.answers.iter().find(|(of, _)| *of == Some(peer));
        let (_, answer) = own.or_else(|| self.answers.iter().find(|(of, _)| of.is_none())).unwrap();
        answer
    }
}

impl Request {
    fn read(line: &str) -> Self {
        let mut parts = line.splitn(5, ' ');
        let mut next = || parts.next().unwrap_or_else(|| panic!("{line}")).to_owned();
        let (from, authority, method, path) = (next(), next(), next(), next());
        let headers = parts.next().into_iter().flat_map(|headers| headers.split("; "));
        let header = |header: &str| {
            let (name, value) = header.split_once(": ").unwrap_or_else(|| panic!("{header}: {line}"));
            (name.to_owned(), value.to_owned())
        };
        Self { from, authority, method, path, headers: headers.map(header).collect() }
    }
}
