use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::descriptor::Descriptor;
use crate::companion::{CompanionError, HeaderEdit};
use crate::name::Text;
use crate::route::RateUnit;

/// Carries questions to the rate limit service.
pub trait RateLimiter: fmt::Debug + Send + Sync {
    /// Counts a request. The future ends by itself when the service takes too long; dropping it gives the question up, though
    /// the request may have been counted.
    fn ask(&self, question: Question) -> Asking;
}

/// A question that is under way.
pub type Asking = Pin<Box<dyn Future<Output = Result<Ruling, CompanionError>> + Send>>;

/// What the service is asked about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Whose limits it is to look at.
    pub domain: Text,
    /// By what the request is counted; at least one.
    pub descriptors: Vec<Descriptor>,
}

/// What the service says about a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ruling {
    /// Whether it is too many.
    pub over_limit: bool,
    /// The same for each descriptor, in their order.
    pub statuses: Vec<DescriptorStatus>,
    /// What is added to the headers of the response, of a refusal too.
    pub response: Vec<HeaderEdit>,
    /// What is added to the headers of the request.
    pub request: Vec<HeaderEdit>,
    /// The body of a refusal.
    pub body: Bytes,
    /// What is said of it to later filters.
    pub metadata: Map<String, Value>,
}

/// What the service says about one descriptor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DescriptorStatus {
    /// Whether its limit is reached.
    pub over_limit: bool,
    /// Its limit; `None` if it has none.
    pub limit: Option<CurrentLimit>,
    /// How many requests are left.
    pub remaining: u32,
    /// When there are more.
    pub reset: Option<Duration>,
}

/// The limit of a descriptor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CurrentLimit {
    /// Its name; may be empty.
    pub name: String,
    /// So many requests.
    pub requests: u32,
    /// In so much time; `None` if that is not known.
    pub unit: Option<RateUnit>,
}
