use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::check::Check;
use super::query::QueryEdits;
use crate::companion::{CompanionError, HeaderEdit};

/// Carries checks to an authorizer.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Asks about a request. The future ends by itself when the service takes too long; dropping it gives the question up.
    fn check(&self, check: Check) -> Checking;
}

/// A question that is under way.
pub type Checking = Pin<Box<dyn Future<Output = Result<Decision, CompanionError>> + Send>>;

/// What an authorizer says about a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It may pass.
    Allow(Allowance),
    /// It may not.
    Deny(Refusal),
    /// It cannot be decided; the refusal is for settings that let nothing pass then. Its status, if it says none, is that of
    /// the settings.
    Fail(Refusal),
}

/// What becomes of a request that may pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allowance {
    /// What is removed from its headers, after they are changed.
    pub remove: Vec<String>,
    /// What is changed of its headers.
    pub request: Vec<HeaderEdit>,
    /// What is changed of its query.
    pub query: QueryEdits,
    /// What is changed of its response's headers.
    pub response: Vec<HeaderEdit>,
    /// What is said of it to later filters.
    pub metadata: Map<String, Value>,
}

/// What a client is answered whose request may not pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Refusal {
    /// The status, 200 to 599; anything else is 403.
    pub status: Option<u16>,
    /// The headers.
    pub headers: Vec<HeaderEdit>,
    /// The body.
    pub body: Bytes,
    /// What is said of the request to the log.
    pub metadata: Map<String, Value>,
}
