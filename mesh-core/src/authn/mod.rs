//! Authentication of requests by tokens (JSON Web Tokens, RFC 7519): whose are believed, where in a request they are, what
//! they must say, what becomes of what they say.
//!
//! An [`Authentication`] is Envoy's `JwtAuthentication`; Istio's [`RequestAuthentication`]s become one by
//! [`Authentication::of_policies`]. [`Authenticate`] is the filter that enforces it. Signatures and keys are the matter of a
//! [`Verifier`], of which `mesh-identity` has one.
//!
//! What good tokens say is in the metadata of the [`Exchange`](crate::filter::Exchange) under [`METADATA`], where policies
//! find it, and in headers, if a provider says so. A failure is answered 401 with a challenge (RFC 6750 section 3), or 403 if
//! only the audience is wrong, in Envoy's words.
//!
//! ```
//! use mesh_core::authn::{Authentication, Demand, JwtRule, Requirement, RequestAuthentication, RuleKeys};
//!
//! let rule = JwtRule::new("https://login.example", RuleKeys::Uri("https://login.example/keys".into()));
//! let policy = RequestAuthentication { name: "shop/login".parse()?, rules: vec![rule] };
//! let Some(compiled) = Authentication::of_policies([&policy], false) else { panic!("it knows an issuer") };
//! // Good tokens of this issuer, or none.
//! let wanted = Requirement::Any(vec![Requirement::provider("origins-0"), Requirement::AllowMissing]);
//! assert_eq!(compiled.rules[0].demand, Demand::Inline(wanted));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authenticate;
mod config;
mod effect;
mod evaluate;
mod failure;
mod keys;
pub mod limits;
mod place;
mod provider;
mod request_authentication;
mod requirement;
mod token;

pub use authenticate::Authenticate;
pub use config::{Authentication, ConfigError, Demand, METADATA, Rule};
pub use failure::{Failure, Part};
pub use keys::{Fetching, Keys, Verification, Verifier};
pub use provider::{
    ClaimHeader, DEFAULT_CLOCK_SKEW, DEFAULT_FETCH_TIMEOUT, DEFAULT_KEY_LIFE, KeySource, PayloadHeader, Places,
    Provider, RemoteKeys, TokenHeader,
};
pub use request_authentication::{JwtRule, PAYLOAD, RequestAuthentication, RuleKeys};
pub use requirement::Requirement;
pub use token::Token;

#[cfg(test)]
mod tests;
