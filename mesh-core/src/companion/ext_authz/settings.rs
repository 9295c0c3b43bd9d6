use http::StatusCode;

use super::http_service::HttpService;
use crate::companion::{EditRules, GrpcService};
use crate::name::Text;
use crate::request::MetadataMatch;
use crate::route::{CheckBody, Fraction};
use crate::string_match::Pattern;

/// The settings of a filter that asks an external authorizer. Envoy's `ExtAuthz`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExternalAuthz {
    /// Who is asked.
    pub service: Service,
    /// What becomes of a request about which there is no answer.
    pub failure: Failure,
    /// Whether the authorizer sees the body; `None` if it does not.
    pub body: Option<CheckBody>,
    /// Which headers the authorizer sees.
    pub headers: HeaderChoice,
    /// Whether it gets values of headers as bytes, one by one, rather than as text, joined. Of gRPC only.
    pub raw_headers: bool,
    /// Whether it gets the client's certificate, where that is kept. Of gRPC only.
    pub include_peer_certificate: bool,
    /// Whether it gets the server name that the client asked for in TLS. Of gRPC only.
    pub include_tls_session: bool,
    /// Filters, what they said of the request is told. Of gRPC only.
    pub metadata: Vec<Text>,
    /// Whether a route is chosen again for a request that the authorizer has changed.
    pub clear_route_cache: bool,
    /// Whether an answer that asks for changes of protected headers fails the request (500); otherwise they are left out.
    pub validate_mutations: bool,
    /// Which headers of the request it may change; `None` for all that are not protected.
    pub edit_rules: Option<EditRules>,
    /// Whether what it says of the request is kept for later filters. Default: it is.
    pub take_metadata: bool,
    /// Longest body of a refusal, in bytes; what is longer is cut. `None` has no limit.
    pub max_denied_body: Option<u32>,
    /// The requests that it is asked about; `None` for all.
    pub enabled: Option<Fraction>,
    /// What must be known of the requests that it is asked about; `None` for all.
    pub enabled_metadata: Option<MetadataMatch>,
    /// Whether requests that it is not asked about are refused.
    pub deny_at_disable: bool,
}

impl ExternalAuthz {
    /// Asks this service, with every default.
    #[must_use]
    pub fn new(service: Service) -> Self {
        Self {
            service,
            failure: Failure::default(),
            body: None,
            headers: HeaderChoice::default(),
            raw_headers: false,
            include_peer_certificate: false,
            include_tls_session: false,
            metadata: Vec::new(),
            clear_route_cache: false,
            validate_mutations: false,
            edit_rules: None,
            take_metadata: true,
            max_denied_body: None,
            enabled: None,
            enabled_metadata: None,
            deny_at_disable: false,
        }
    }
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Service {
    /// A service of `envoy.service.auth.v3`.
    Grpc(GrpcService),
    /// A service of plain HTTP.
    Http(Box<HttpService>),
}

/// What becomes of a request about which there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Whether it passes. Default: it does not.
    pub allow: bool,
    /// Whether one that passes so is marked with `x-envoy-auth-failure-mode-allowed: true`.
    pub mark: bool,
    /// The status of one that does not. Default: 403.
    pub status: StatusCode,
}

impl Default for Failure {
    fn default() -> Self {
        Self { allow: false, mark: false, status: StatusCode::FORBIDDEN }
    }
}

/// Which headers of a request an authorizer sees, by their names in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderChoice {
    /// Those that look so. `None` for all with gRPC, for none with HTTP, where method, path, host and `authorization` are
    /// seen in any case.
    pub allowed: Option<Vec<Pattern>>,
    /// None that looks so, whatever is said above.
    pub disallowed: Vec<Pattern>,
}

impl HeaderChoice {
    /// Whether a header is seen; `otherwise` where nothing is said about which are allowed.
    pub(super) fn takes(&self, name: &str, otherwise: bool) -> bool {
        let allowed = self.allowed.as_ref().map_or(otherwise, |allowed| any(allowed, name));
        allowed && !any(&self.disallowed, name)
    }
}

/// Whether a text looks like one of these.
pub(super) fn any(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(text))
}
