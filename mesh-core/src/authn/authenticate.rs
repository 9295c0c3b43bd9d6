use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request};

use super::effect::apply;
use super::evaluate::{Evaluation, Known, Learnt, Pending};
use super::place::Finder;
use super::requirement::Node;
use super::{Authentication, ConfigError, Demand, Failure, Requirement, Verifier};
use crate::filter::{Answer, Exchange, Filter, Step};
use crate::name::Text;
use crate::request::Head;
use crate::route::{FilterOverride, RouteMatch};

/// The filter: lets in requests that bring the tokens that are demanded of them.
///
/// Headers that are to carry claims are taken from every request before anything else, so that nobody but this filter has
/// written them. What good tokens say is in the exchange's metadata under [`METADATA`](super::METADATA).
#[derive(Clone)]
pub struct Authenticate {
    inner: Arc<Inner>,
}

struct Inner {
    verifier: Arc<dyn Verifier>,
    providers: Vec<Known>,
    /// The places of all providers.
    everywhere: Finder,
    rules: Vec<(RouteMatch, Arc<Node>)>,
    requirements: BTreeMap<Text, Arc<Node>>,
    written: Vec<HeaderName>,
    bypass_cors_preflight: bool,
    strip_failure_response: bool,
}

impl Authenticate {
    /// The filter of an authentication. The keys of its providers are kept fresh as long as it lives.
    ///
    /// # Errors
    /// [`ConfigError`] when the authentication speaks of what is not there.
    pub fn new(config: Authentication, verifier: Arc<dyn Verifier>) -> Result<Self, ConfigError> {
        let Authentication { providers, rules, requirements, bypass_cors_preflight, strip_failure_response } = config;
        let node = |requirement: &Requirement| Node::new(requirement, &providers).map(Arc::new);
        let named = requirements.iter().map(|(name, requirement)| Ok((name.clone(), node(requirement)?)));
        let requirements = named.collect::<Result<BTreeMap<_, _>, ConfigError>>()?;
        let demand = |demand: &Demand| match demand {
            Demand::Inline(requirement) => node(requirement),
            Demand::Named(name) => {
                requirements.get(name).cloned().ok_or_else(|| ConfigError::UnknownRequirement(name.clone()))
            }
        };
        let rules = rules.into_iter().map(|rule| Ok((rule.matcher, demand(&rule.demand)?)));
        let rules = rules.collect::<Result<Vec<_>, ConfigError>>()?;
        let mut written: Vec<HeaderName> = providers.values().flat_map(|one| one.written_headers().cloned()).collect();
        written.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        written.dedup();
        let everywhere = Finder::new(providers.values().enumerate());
        let known = providers.into_values().enumerate().map(|(at, provider)| Known {
            finder: Finder::new([(at, &provider)]),
            keys: verifier.keys(&provider.keys),
            provider,
        });
        let providers = known.collect();
        let inner = Inner {
            verifier,
            providers,
            everywhere,
            rules,
            requirements,
            written,
            bypass_cors_preflight,
            strip_failure_response,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let providers = self.inner.providers.iter().map(|known| &known.provider);
        f.debug_struct("Authenticate").field("providers", &providers.collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Filter for Authenticate {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        for name in &self.inner.written {
            head.headers.remove(name);
        }
        if self.inner.bypass_cors_preflight && is_preflight(&head.method, &head.headers) {
            return Step::Next;
        }
        Inner::look(&self.inner, head, exchange, Vec::new())
    }
}

impl Inner {
    /// Looks at a request, with what waiting for keys has shown so far.
    fn look(inner: &Arc<Self>, head: &mut request::Parts, exchange: &mut Exchange, mut learnt: Vec<Learnt>) -> Step {
        let (verdict, verified) = {
            let request = exchange.request(head);
            let node = match exchange.overriding() {
                Some(FilterOverride::Authn(None)) => return Step::Next,
                Some(FilterOverride::Authn(Some(name))) => match inner.requirements.get(name) {
                    Some(node) => node,
                    None => return inner.misnamed(name),
                },
                _ => {
                    let path = request.path();
                    let mut rules = inner.rules.iter();
                    match rules.find(|(matcher, _)| matcher.is_match(&request, path, exchange.random)) {
                        Some((_, node)) => node,
                        None => return Step::Next,
                    }
                }
            };
            let Self { providers, everywhere, verifier, .. } = &**inner;
            let mut evaluation = Evaluation::new(providers, everywhere, &**verifier, request, &learnt);
            (evaluation.meets(node), evaluation.verified())
        };
        match verdict {
            Ok(Ok(())) => {
                apply(head, exchange, &inner.providers, &verified);
                Step::Next
            }
            Ok(Err(failure)) => {
                let realm = (!inner.strip_failure_response).then(|| realm(&exchange.request(head).head));
                Step::Answer(refusal(failure, realm))
            }
            Err(Pending { provider, token, fetching }) => {
                let inner = Arc::clone(inner);
                Step::wait(async move {
                    let result = fetching.await;
                    move |head: &mut request::Parts, exchange: &mut Exchange| {
                        learnt.push(Learnt { provider, token, result });
                        Self::look(&inner, head, exchange, learnt)
                    }
                })
            }
        }
    }

    /// A route demands what is not there: nobody may pass.
    fn misnamed(&self, name: &Text) -> Step {
        let text = format!("Wrong requirement_name: {name}");
        let details = details(&text);
        let body =
            if self.strip_failure_response { String::new() } else { format!("Failed JWT authentication: {text}") };
        Step::Answer(Answer::new(StatusCode::FORBIDDEN, body, details))
    }
}

/// Whether a browser asks if it may send a request (Fetch, "CORS-preflight request"). It sends no credentials with it.
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let given = |name| headers.get(name).is_some_and(|value: &HeaderValue| !value.is_empty());
    *method == Method::OPTIONS && given(ORIGIN) && given(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a failure (RFC 6750 section 3); without a realm, as little of it as possible.
fn refusal(failure: Failure, realm: Option<String>) -> Answer {
    let text = failure.to_string();
    let details = details(&text);
    let Some(realm) = realm else { return Answer::new(failure.status(), "", details) };
    let error = if failure == Failure::Missing { "" } else { ", error=\"invalid_token\"" };
    let answer = Answer::new(failure.status(), text, details);
    match HeaderValue::try_from(format!("Bearer realm=\"{realm}\"{error}")) {
        Ok(challenge) => answer.with_header(WWW_AUTHENTICATE, challenge),
        Err(_) => answer,
    }
}

/// Longest path in a realm.
const REALM_PATH: usize = 256;

/// What was asked for, for the quotes of a challenge. Without the query, unlike Envoy's: a token may stand there.
fn realm(head: &Head<'_>) -> String {
    let path = head.path();
    let path = path.get(..REALM_PATH).unwrap_or(path);
    let plain = |char: &char| char.is_ascii_graphic() && !matches!(char, '"' | '\\');
    [head.scheme, "://", head.authority, path].concat().chars().filter(plain).collect()
}

/// A reason as one word, for logs.
fn details(text: &str) -> Text {
    format!("jwt_authn_access_denied{{{}}}", text.replace(' ', "_")).into()
}
