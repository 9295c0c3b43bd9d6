//! One connection, or one request on it: would it be allowed, which way would it go, and why.

use std::fmt;

use mesh_core::listener::Terminal;
use serde::Serialize;

use super::find;
use super::mesh::Mesh;
use super::outcome::{Access, Cause, Outcome, Point, Via};
use super::probe::{Probe, ProbeError};
use super::trail::{Considered, TakenRoute, Trail};
use super::walk::{Plan, Step};
use super::words::cause_in_words;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// Who connects: `namespace/name` of a workload or service account, a uid, an address, or a SPIFFE ID. An address
    /// that is no workload's connects in plaintext.
    pub from: String,
    /// What is addressed: a service as `name`, `name.namespace` or its host, with `:port` where it has several; a
    /// workload as `namespace/name:port`; `address:port`; or a URL.
    pub to: String,
    /// The method of the request; `GET`, if anything else of a request is given.
    pub method: Option<String>,
    /// The path of the request.
    pub path: Option<String>,
    /// The host of the request; the one that is addressed, if it is not given.
    pub host: Option<String>,
    /// Headers of the request.
    pub headers: Vec<(String, String)>,
}

/// What is asked cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// Nobody is called so.
    #[error("from `{0}`: no workload, service account, address or SPIFFE ID is called so")]
    From(String),
    /// Nothing is called so.
    #[error("to `{0}`: no service, workload or address is called so")]
    To(String),
    /// It has several ports, or none.
    #[error("to `{0}`: which port? There are {1}")]
    Port(String, String),
    /// The request cannot be sent.
    #[error(transparent)]
    Request(#[from] ProbeError),
}

/// What becomes of what was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Who connects.
    pub from: String,
    /// What is addressed.
    pub to: String,
    /// The request, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What becomes of it over all ways.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Why, for people.
    pub because: Vec<String>,
    /// The ways that it may take; chance decides among several.
    pub ways: Vec<Way>,
}

/// One way, and who decides on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Why it is taken, where a node proxy chose it.
    pub reason: String,
    /// Where it leads first.
    pub hop: String,
    /// Whether it is open.
    pub access: Access,
    /// The policies that apply on it, in the order in which they are asked.
    pub considered: Vec<Considered>,
    /// The route that a waypoint takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<TakenRoute>,
    /// Endpoints behind a waypoint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
}

impl Mesh {
    /// Answers a question, by the decisions that proxies make.
    ///
    /// # Errors
    /// [`QuestionError`] names what of the question means nothing here.
    pub fn explain(&self, question: &Question) -> Result<Answer, QuestionError> {
        let client = find::client(self, &question.from)?;
        let (addressee, host, path) = find::addressee(self, &client, &question.to)?;
        let plan = self.plan(&client, &addressee);
        let probe = self.probe(question, &plan, &host, path)?;
        let mut ways = Vec::new();
        let mut outcomes = Vec::new();
        for (at, step) in plan.steps.iter().enumerate() {
            let trail = Trail::default();
            let outcome = self.step(step, &client, probe.as_ref(), Some(&trail));
            ways.push(Way {
                reason: plan.reasons.get(at).map_or_else(|| "as addresses lead".to_owned(), ToString::to_string),
                hop: hop(step),
                access: outcome.access,
                considered: trail.considered.into_inner(),
                routes: trail.routes.into_inner(),
                endpoints: trail.endpoints.into_inner(),
            });
            outcomes.push(outcome);
        }
        let outcome = Outcome::of(outcomes);
        let namespaces = find::namespace(self, &addressee).into_iter().collect();
        let because = outcome.causes.iter().map(|cause: &Cause| cause_in_words(self, cause, &namespaces)).collect();
        Ok(Answer {
            from: find::describe_client(&client),
            to: find::describe(self, &addressee),
            request: probe.map(|probe| probe.to_string()),
            outcome,
            because,
            ways,
        })
    }

    /// The request that is asked about. Where a waypoint reads HTTP there is one in any case.
    fn probe(
        &self,
        question: &Question,
        plan: &Plan<'_>,
        host: &str,
        path: Option<String>,
    ) -> Result<Option<Probe>, QuestionError> {
        let Question { method, host: asked, headers, .. } = question;
        let given = method.is_some() || question.path.is_some() || asked.is_some() || !headers.is_empty();
        let reads_http = plan.steps.iter().any(|step| match step {
            Step::Waypoint { program, to: Some(to) } => {
                let chain = program.chain(std::net::Ipv4Addr::UNSPECIFIED.into(), *to, true);
                chain.is_some_and(|chain| matches!(chain.terminal, Terminal::Http(_)))
            }
            _ => false,
        });
        if !given && path.is_none() && !reads_http {
            return Ok(None);
        }
        let path = question.path.clone().or(path).unwrap_or_else(|| "/".to_owned());
        let method = method.as_deref().unwrap_or("GET");
        Ok(Some(Probe::new(method, asked.as_deref().unwrap_or(host), &path, headers)?))
    }
}

fn hop(step: &Step<'_>) -> String {
    match step {
        Step::Refused { text, .. } => format!("nowhere: {text}"),
        Step::Outside(Some((uid, to))) => format!("in plaintext to {to} ({uid})"),
        Step::Outside(None) => "in plaintext to where it was meant to go".to_owned(),
        Step::Remote => "through a tunnel to the gateway of the other network".to_owned(),
        Step::Foreign => "through a tunnel to a waypoint that is programmed elsewhere".to_owned(),
        Step::Node(node) => {
            let how = if node.tunnelled { "through a tunnel" } else { "in plaintext" };
            let workload = &node.workload;
            format!("{how} to {} ({}/{}, {})", node.to, workload.namespace, workload.name, workload.identity)
        }
        Step::Waypoint { program, to } => {
            let to = to.map_or_else(|| "what it does not serve".to_owned(), |to| to.to_string());
            format!("{} for {to}", Via::Waypoint(program.key.clone()))
        }
    }
}

impl Answer {
    /// Whether nothing passes.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.outcome.access == Access::Refused
    }
}

/// Lines for a terminal.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "from {}\nto   {}", self.from, self.to)?;
        if let Some(request) = &self.request {
            writeln!(f, "     {request}")?;
        }
        writeln!(f, "{}: {}", self.outcome.access.as_str(), self.because.join("; "))?;
        for way in &self.ways {
            writeln!(f, "\nway: {} ({}): {}", way.hop, way.reason, way.access.as_str())?;
            let mut point: Option<&Point> = None;
            for one in &way.considered {
                if point != Some(&one.point) {
                    writeln!(f, "  {}", one.point)?;
                    point = Some(&one.point);
                }
                let verdict = if one.matches { "matches" } else { "does not match" };
                let dry_run = if one.dry_run { ", for show only" } else { "" };
                let because = if one.because.is_empty() { String::new() } else { format!(": {}", one.because) };
                writeln!(f, "    {} {}{dry_run}: {verdict}{because}", one.action, one.policy)?;
            }
            for route in &way.routes {
                writeln!(f, "  route {}\n    if {}\n    to {}", route.name, route.matches, route.answer.to)?;
                for (name, value) in &route.answer.settings {
                    writeln!(f, "    {name}: {value}")?;
                }
            }
            for endpoint in &way.endpoints {
                writeln!(f, "  endpoint {endpoint}")?;
            }
        }
        Ok(())
    }
}
