use std::time::Duration;

use super::Fraction;
use crate::name::Text;
use crate::string_match::Pattern;

/// Which origins a browser may let use a route, and how. Envoy's `envoy.extensions.filters.http.cors.v3.CorsPolicy`.
///
/// The lists are kept as the headers they become: elements separated by commas, `*` for all, empty to send no such header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsPolicy {
    /// How an origin must look: in one of these ways. Without any, none is allowed.
    pub origins: Vec<Pattern>,
    /// `access-control-allow-methods`.
    pub methods: Text,
    /// `access-control-allow-headers`.
    pub headers: Text,
    /// `access-control-expose-headers`.
    pub expose: Text,
    /// `access-control-max-age`, in whole seconds: how long a browser may rely on the answer to a preflight.
    pub max_age: Option<Duration>,
    /// Whether a request may carry cookies and the like. Default: it may not.
    pub credentials: bool,
    /// Whether a page of a public network may use a server of a private one. Default: it may not.
    pub private_network: bool,
    /// Whether a preflight from an origin that is not allowed goes to the server; otherwise it is answered here, with no
    /// header of CORS. Default: it goes to the server.
    pub forward_unmatched_preflights: bool,
    /// For which part of the requests the policy is in force; `None` for all.
    pub enabled: Option<Fraction>,
    /// For which part of the requests it is only counted what it would do, where it is not in force.
    pub shadow: Option<Fraction>,
}

impl Default for CorsPolicy {
    /// No origin is allowed.
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            methods: Text::default(),
            headers: Text::default(),
            expose: Text::default(),
            max_age: None,
            credentials: false,
            private_network: false,
            forward_unmatched_preflights: true,
            enabled: None,
            shadow: None,
        }
    }
}
