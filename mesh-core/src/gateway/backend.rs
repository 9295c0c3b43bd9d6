use std::time::Duration;

use http::HeaderName;

use super::Filter;
use crate::name::Text;

/// Where requests of a rule go.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendRef {
    /// Where to.
    pub backend: Backend,
    /// Its share, as a part of the sum of all weights of the rule, invalid backends included. Zero for none.
    pub weight: u32,
    /// What is done to the requests that go there.
    pub filters: Vec<Filter>,
}

/// What a reference to a backend has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A cluster of this name.
    Cluster(Text),
    /// Nothing: its kind is unknown, it does not exist, it may not be referred to from here, or its protocol is not spoken.
    /// Its share of the requests is answered with an error.
    Invalid,
}

impl BackendRef {
    /// To a cluster, with a weight and no filters.
    #[must_use]
    pub fn to(cluster: &str, weight: u32) -> Self {
        Self { backend: Backend::Cluster(cluster.into()), weight, filters: Vec::new() }
    }

    /// To a backend that is invalid.
    #[must_use]
    pub fn invalid(weight: u32) -> Self {
        Self { backend: Backend::Invalid, weight, filters: Vec::new() }
    }
}

/// How long the requests of a rule may take. Either expiry is answered with 504.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleTimeouts {
    /// All of a request, retries included. `None` and zero are for ever.
    pub request: Option<Duration>,
    /// Each attempt. `None` and zero are as long as the request.
    pub backend_request: Option<Duration>,
}

/// When requests of a rule are tried again: after each status listed, and whenever there is no response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retry {
    /// Statuses of HTTP.
    pub codes: Vec<u16>,
    /// How often at most, beside the first attempt. Default 2.
    pub attempts: Option<u32>,
    /// The base of the waiting times. Default 25 ms.
    pub back_off: Option<Duration>,
}

/// How a client is kept with the endpoint that answered it first: `sessionPersistence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Persistence {
    /// By a cookie, which is sent over TLS only, not shown to scripts, and not sent by other sites.
    Cookie {
        /// Its name. `None` for one that is made of the rule's.
        name: Option<Text>,
        /// The path it is for. Default `/`.
        path: Option<Text>,
        /// How long it lives; `None` until the browser is closed.
        permanent: Option<Duration>,
    },
    /// By a header of requests and responses.
    Header(HeaderName),
}
