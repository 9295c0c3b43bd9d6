use std::collections::BTreeMap;

use super::{Provider, Requirement};
use crate::name::Text;
use crate::route::RouteMatch;

/// The key of the filter's metadata: what verified tokens say stands there.
pub const METADATA: &str = "envoy.filters.http.jwt_authn";

/// Which requests must bring which tokens. Envoy's `JwtAuthentication`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Authentication {
    /// Issuers by name.
    pub providers: BTreeMap<Text, Provider>,
    /// What is demanded of which requests; the first rule that matches decides. A request that none matches passes.
    pub rules: Vec<Rule>,
    /// Demands by name, for rules and for routes.
    pub requirements: BTreeMap<Text, Requirement>,
    /// Whether a request by which a browser asks for permission passes: it never brings a token.
    pub bypass_cors_preflight: bool,
    /// Whether the client does not learn why it was refused.
    pub strip_failure_response: bool,
}

/// What is demanded of some requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Which requests.
    pub matcher: RouteMatch,
    /// What is demanded.
    pub demand: Demand,
}

/// A requirement, or the name of one.
#[derive(Debug, Clone, PartialEq)]
pub enum Demand {
    /// This one.
    Inline(Requirement),
    /// The one of this name among [`Authentication::requirements`].
    Named(Text),
}

/// An authentication is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A requirement names a provider that is not there.
    #[error("provider `{0}` is not there")]
    UnknownProvider(Text),
    /// A rule names a requirement that is not there.
    #[error("requirement `{0}` is not there")]
    UnknownRequirement(Text),
    /// Requirements stand in each other more than [`MAX_DEPTH`](super::limits::MAX_DEPTH) deep.
    #[error("requirements stand in each other too deep")]
    TooDeep,
}
