use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::name::Text;
use crate::string_match::Pattern;

/// How far the clock of an issuer may lie apart from ours, unless a provider says otherwise.
pub const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How long keys that were fetched count, unless a provider says otherwise.
pub const DEFAULT_KEY_LIFE: Duration = Duration::from_secs(10 * 60);

/// How long a fetch of keys may take, unless a rule says otherwise.
pub const DEFAULT_FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// An issuer of tokens: where its tokens are, what they must say, what becomes of them. Envoy's `JwtProvider`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// What `iss` must say; `None` for anything.
    pub issuer: Option<Text>,
    /// Of these `aud` must name one; empty for anything. As Envoy compares them: without `http://` or `https://` at the
    /// beginning and without a slash at the end.
    pub audiences: Vec<Text>,
    /// How `sub` must look.
    pub subjects: Option<Pattern>,
    /// Whether a token must have an end.
    pub require_expiration: bool,
    /// How far the end of a token may lie ahead at most; then it must have one.
    pub max_lifetime: Option<Duration>,
    /// How far the issuer's clock may lie apart from ours, both ways.
    pub clock_skew: Duration,
    /// The keys that sign its tokens.
    pub keys: KeySource,
    /// Where its tokens are.
    pub places: Places,
    /// Whether a token stays in the request. One in a cookie stays in any case.
    pub forward: bool,
    /// The header that carries the payload of a token to the service.
    pub payload_header: Option<PayloadHeader>,
    /// Headers that carry single claims to the service.
    pub claim_headers: Vec<ClaimHeader>,
    /// The key in the filter's metadata under which the payload is put.
    pub payload_in_metadata: Option<Text>,
    /// The key in the filter's metadata under which the header of the token is put.
    pub header_in_metadata: Option<Text>,
    /// Claims whose text is a list with spaces between: in metadata they are lists.
    pub space_delimited_claims: Vec<Text>,
    /// Whether a route is chosen anew once claims are in headers or metadata.
    pub clear_route_cache: bool,
}

impl Provider {
    /// An issuer and its keys: any audience, tokens where they are by default, nothing passed on.
    pub fn new(issuer: impl Into<Text>, keys: KeySource) -> Self {
        Self { issuer: Some(issuer.into()), ..Self::anybody(keys) }
    }

    /// Whoever has these keys, whatever `iss` says.
    #[must_use]
    pub fn anybody(keys: KeySource) -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
            subjects: None,
            require_expiration: false,
            max_lifetime: None,
            clock_skew: DEFAULT_CLOCK_SKEW,
            keys,
            places: Places::default(),
            forward: false,
            payload_header: None,
            claim_headers: Vec::new(),
            payload_in_metadata: None,
            header_in_metadata: None,
            space_delimited_claims: Vec::new(),
            clear_route_cache: false,
        }
    }

    /// The headers that this provider writes and that nobody else may have written.
    pub(super) fn written_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let payload = self.payload_header.iter().map(|header| &header.name);
        payload.chain(self.claim_headers.iter().map(|claim| &claim.header))
    }
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// Here: a JSON Web Key Set (RFC 7517 section 5).
    Inline(Text),
    /// At a URL.
    Remote(RemoteKeys),
}

/// A JSON Web Key Set at a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemoteKeys {
    /// The URL, of `https` or `http`.
    pub uri: Text,
    /// The cluster by which Envoy reaches it.
    pub cluster: Text,
    /// How long a fetch may take.
    pub timeout: Duration,
    /// How long what was fetched counts at most.
    pub life: Duration,
}

impl RemoteKeys {
    /// Keys at a URL, with the defaults.
    pub fn at(uri: impl Into<Text>) -> Self {
        let (timeout, life) = (DEFAULT_FETCH_TIMEOUT, DEFAULT_KEY_LIFE);
        Self { uri: uri.into(), cluster: Text::default(), timeout, life }
    }
}

/// Where tokens are. Without any place: `Authorization: Bearer`, and the parameter `access_token` (RFC 6750 section 2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// In headers.
    pub headers: Vec<TokenHeader>,
    /// In parameters of the query, by their names.
    pub params: Vec<Text>,
    /// In cookies, by their names.
    pub cookies: Vec<Text>,
}

impl Places {
    /// These, or the default ones if there are none.
    pub(super) fn or_default(&self) -> Self {
        if self.headers.is_empty() && self.params.is_empty() && self.cookies.is_empty() {
            let bearer = TokenHeader { name: AUTHORIZATION, prefix: "Bearer ".into() };
            return Self { headers: vec![bearer], params: vec!["access_token".into()], cookies: Vec::new() };
        }
        self.clone()
    }
}

/// A header with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHeader {
    /// The header.
    pub name: HeaderName,
    /// What stands before the token, such as `Bearer ` with its space. A header without it holds no token.
    pub prefix: Text,
}

/// A header that carries a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadHeader {
    /// The header. What a client sends by its name is taken away.
    pub name: HeaderName,
    /// Whether the base64url text is padded.
    pub padded: bool,
}

/// A header that carries a claim: a text, a number or a truth value as it is, anything else as JSON in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimHeader {
    /// The header. What a client sends by its name is taken away.
    pub header: HeaderName,
    /// The keys that lead to the claim, from the outermost on.
    pub claim: Vec<Text>,
}
