use std::time::{Duration, SystemTime};

use crate::filter::Exchange;

/// What holds for all requests of a [`Forwarder`](super::Forwarder), whatever their routes.
#[derive(Debug, Clone, Copy)]
pub struct ForwardSettings {
    /// Longest silence of a request, where its route says nothing. Default 5 minutes; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a request, where its route says nothing. Default: for ever.
    pub stream_timeout: Option<Duration>,
    /// Most bytes of a body that are kept to be sent again, where the route says nothing. Default 1 MiB.
    pub body_buffer: u64,
    /// How many bytes a copy of a request may lag behind before it is given up. Default 1 MiB.
    pub mirror_buffer: usize,
    /// Whose headers `x-envoy-*` may override what the route says of retries and timeouts. Default: nobody's.
    pub overrides: Overrides,
    /// Whether requests and responses get headers `x-envoy-*` that say what was done. Default: they do.
    pub envoy_headers: EnvoyHeaders,
    /// The wall clock, for servers that say at what time to come again. Default: none, and what they say does not count.
    pub wall_clock: Option<fn() -> SystemTime>,
}

impl Default for ForwardSettings {
    fn default() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(5 * 60)),
            stream_timeout: None,
            body_buffer: 1 << 20,
            mirror_buffer: 1 << 20,
            overrides: Overrides::default(),
            envoy_headers: EnvoyHeaders::default(),
            wall_clock: None,
        }
    }
}

/// Whose headers `x-envoy-max-retries`, `x-envoy-retry-on`, `x-envoy-upstream-rq-timeout-ms` and their like count. They are
/// taken away in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Overrides {
    /// Nobody's.
    #[default]
    Never,
    /// Those of clients with a verified identity.
    Identified,
    /// Everybody's.
    Always,
}

impl Overrides {
    pub(super) fn count_of(self, exchange: &Exchange) -> bool {
        match self {
            Self::Never => false,
            Self::Identified => exchange.connection.peer_uri().is_some(),
            Self::Always => true,
        }
    }
}

/// Whether headers `x-envoy-*` say what was done: `x-envoy-expected-rq-timeout-ms` and `x-envoy-original-path` to the server,
/// `x-envoy-upstream-service-time` to the client. What a route asks for, such as the number of the attempt, is always said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EnvoyHeaders {
    /// They do.
    #[default]
    Send,
    /// They do not.
    Suppress,
}
