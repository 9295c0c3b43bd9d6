use std::collections::BTreeSet;
use std::time::Duration;

use http::HeaderName;

use super::provider::DEFAULT_FETCH_TIMEOUT;
use super::{
    Authentication, ClaimHeader, Demand, KeySource, PayloadHeader, Places, Provider, RemoteKeys, Requirement, Rule,
};
use crate::name::{NamespacedName, Text};
use crate::route::{PathMatch, RouteMatch};

/// The metadata key under which policies find claims.
pub const PAYLOAD: &str = "payload";

/// How long keys that were fetched count, as Istio tells Envoy.
const KEY_LIFE: Duration = Duration::from_secs(5 * 60);

/// Claims that are lists in any case (RFC 8693 section 4.2 for the second).
const SPACE_DELIMITED: [&str; 2] = ["permission", "scope"];

/// Istio's `RequestAuthentication`: which issuers are known to a workload. A request with a bad token is refused, one without
/// any passes, and has no principal that a policy could allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAuthentication {
    /// Its name.
    pub name: NamespacedName,
    /// Its issuers.
    pub rules: Vec<JwtRule>,
}

/// Istio's `JWTRule`: an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRule {
    /// What `iss` must say.
    pub issuer: Text,
    /// Of these `aud` must name one; empty for anything.
    pub audiences: Vec<Text>,
    /// The keys that sign its tokens.
    pub keys: RuleKeys,
    /// Where its tokens are.
    pub places: Places,
    /// Whether a token stays in the request.
    pub forward_original_token: bool,
    /// The header that carries the payload to the service.
    pub output_payload_to_header: Option<HeaderName>,
    /// Headers that carry claims to the service, and the claims, with dots between nested ones.
    pub output_claim_to_headers: Vec<(HeaderName, Text)>,
    /// Claims whose text is a list with spaces between, beside `scope` and `permission`.
    pub space_delimited_claims: Vec<Text>,
    /// How long a fetch of keys may take.
    pub timeout: Duration,
}

/// Where the keys of a [`JwtRule`] are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleKeys {
    /// `jwks`.
    Inline(Text),
    /// `jwksUri`.
    Uri(Text),
    /// Neither: where the issuer's configuration says (OpenID Connect Discovery section 4).
    Discovered,
}

impl JwtRule {
    /// An issuer and its keys, with the defaults.
    pub fn new(issuer: impl Into<Text>, keys: RuleKeys) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: Vec::new(),
            keys,
            places: Places::default(),
            forward_original_token: false,
            output_payload_to_header: None,
            output_claim_to_headers: Vec::new(),
            space_delimited_claims: Vec::new(),
            timeout: DEFAULT_FETCH_TIMEOUT,
        }
    }

    /// As Envoy knows it.
    fn provider(&self, clear_route_cache: bool) -> Provider {
        let fetched =
            |uri: Text| KeySource::Remote(RemoteKeys { timeout: self.timeout, life: KEY_LIFE, ..RemoteKeys::at(uri) });
        let keys = match &self.keys {
            RuleKeys::Inline(text) => KeySource::Inline(text.clone()),
            RuleKeys::Uri(uri) => fetched(uri.clone()),
            RuleKeys::Discovered => {
                let issuer = self.issuer.as_str().trim_end_matches('/');
                fetched(format!("{issuer}/.well-known/openid-configuration").into())
            }
        };
        let own = self.space_delimited_claims.iter().cloned();
        let delimited: BTreeSet<Text> = own.chain(SPACE_DELIMITED.map(Text::from)).collect();
        let header = |(header, claim): &(HeaderName, Text)| ClaimHeader {
            header: header.clone(),
            claim: claim.as_str().split('.').map(Text::from).collect(),
        };
        Provider {
            audiences: self.audiences.clone(),
            places: self.places.clone(),
            forward: self.forward_original_token,
            payload_header: self.output_payload_to_header.clone().map(|name| PayloadHeader { name, padded: false }),
            claim_headers: self.output_claim_to_headers.iter().map(header).collect(),
            payload_in_metadata: Some(PAYLOAD.into()),
            space_delimited_claims: delimited.into_iter().collect(),
            clear_route_cache,
            ..Provider::new(self.issuer.clone(), keys)
        }
    }
}

impl Authentication {
    /// What all policies of a workload demand together; `None` where they know no issuer.
    ///
    /// Providers are called `origins-0` and so on, in the order of their issuers. A request passes if it brings a good token
    /// of one of them, or if none of them finds a token at its places. `clear_route_cache` is for gateways, whose routes may
    /// match claims.
    #[must_use]
    pub fn of_policies<'a>(
        policies: impl IntoIterator<Item = &'a RequestAuthentication>,
        clear_route_cache: bool,
    ) -> Option<Self> {
        let mut rules: Vec<&JwtRule> = policies.into_iter().flat_map(|policy| &policy.rules).collect();
        rules.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        let name = |at: usize| Text::from(format!("origins-{at}"));
        let one = |at| Requirement::provider(name(at));
        let optional = |at| Requirement::Any(vec![one(at), Requirement::AllowMissing]);
        let requirement = match rules.len() {
            0 => return None,
            1 => optional(0),
            // Issuers may share a place, where a token of one of them is bad for all others: so one good token is enough.
            many => {
                let all = Requirement::All((0..many).map(optional).collect());
                Requirement::Any((0..many).map(one).chain([all]).collect())
            }
        };
        let providers = rules.iter().enumerate().map(|(at, rule)| (name(at), rule.provider(clear_route_cache)));
        let matcher = RouteMatch::new(PathMatch::prefix("/"));
        Some(Self {
            providers: providers.collect(),
            rules: vec![Rule { matcher, demand: Demand::Inline(requirement) }],
            bypass_cors_preflight: true,
            ..Self::default()
        })
    }
}
