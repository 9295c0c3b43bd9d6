use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request, response};

use crate::filter::{Answer, Exchange, Filter, Step};
use crate::name::Text;
use crate::route::{CorsPolicy, FilterOverride};

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The filter of [`CorsPolicy`]: it answers preflights, and tells browsers which pages may use an answer.
///
/// Where credentials are allowed, `*` has no meaning to browsers: what the request asks for is said instead.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{Empty, Full};
/// use mesh_core::filter::FilterLayer;
/// use mesh_core::resilience::Cors;
/// use mesh_core::route::CorsPolicy;
/// use mesh_core::string_match::Pattern;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let origins = vec![Pattern::exact("https://shop.example")];
/// let cors = Cors::new(CorsPolicy { origins, methods: "GET, PUT".into(), ..CorsPolicy::default() });
/// let api = service_fn(async |_| Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::new()))));
/// let preflight = Request::builder()
///     .method("OPTIONS")
///     .header("origin", "https://shop.example")
///     .header("access-control-request-method", "PUT")
///     .body(Empty::<Bytes>::new())?;
/// let answer = FilterLayer::new(cors).layer(api).oneshot(preflight).await?;
/// assert_eq!(answer.headers()["access-control-allow-methods"], "GET, PUT");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Cors {
    policy: Option<CorsPolicy>,
}

impl Cors {
    /// This policy, unless a route has another. Envoy's filter has none but those of routes: [`Cors::default`].
    #[must_use]
    pub fn new(policy: CorsPolicy) -> Self {
        Self { policy: Some(policy) }
    }
}

/// What is added to the response.
#[derive(Debug, Clone)]
struct Allowed {
    origin: HeaderValue,
    credentials: bool,
    expose: Text,
}

impl Filter for Cors {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        let policy = match exchange.overriding() {
            Some(FilterOverride::Cors(policy)) => Some(policy),
            _ => self.policy.as_ref(),
        };
        let Some(origin) = head.headers.get(ORIGIN).filter(|origin| !origin.is_empty()) else { return Step::Next };
        let in_force = |policy: &&CorsPolicy| policy.enabled.is_none_or(|part| part.takes(fastrand::u64(..)));
        let Some(policy) = policy.filter(in_force) else { return Step::Next };
        let allowed = origin.to_str().is_ok_and(|text| policy.origins.iter().any(|pattern| pattern.is_match(text)));
        let preflight = head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        match (preflight, allowed) {
            (true, false) if policy.forward_unmatched_preflights => Step::Next,
            (true, _) => {
                let headers = if allowed { policy.preflight(origin, &head.headers) } else { HeaderMap::new() };
                Step::Answer(Answer { headers, ..Answer::new(StatusCode::OK, "", "cors_response") })
            }
            (false, false) => Step::Next,
            (false, true) => {
                let all = policy.credentials && policy.expose == *"*";
                let expose = if all { Text::default() } else { policy.expose.clone() };
                let allowed = Allowed { origin: origin.clone(), credentials: policy.credentials, expose };
                exchange.keep(allowed);
                Step::Next
            }
        }
    }

    fn on_response(&self, head: &mut response::Parts, exchange: &mut Exchange) {
        let Some(Allowed { origin, credentials, expose }) = exchange.take_kept() else { return };
        head.headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if credentials {
            head.headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        insert(&mut head.headers, ACCESS_CONTROL_EXPOSE_HEADERS, expose.as_str());
    }
}

impl CorsPolicy {
    /// The answer to a preflight from an origin that is allowed.
    fn preflight(&self, origin: &HeaderValue, asked: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        let mut allow = |name, list: &Text, asked: Option<&HeaderValue>| {
            if self.credentials && *list == *"*" {
                headers.extend(asked.map(|asked| (name, asked.clone())));
            } else {
                insert(&mut headers, name, list.as_str());
            }
        };
        allow(ACCESS_CONTROL_ALLOW_METHODS, &self.methods, asked.get(ACCESS_CONTROL_REQUEST_METHOD));
        allow(ACCESS_CONTROL_ALLOW_HEADERS, &self.headers, asked.get(ACCESS_CONTROL_REQUEST_HEADERS));
        if let Some(age) = self.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, age.as_secs().into());
        }
        let private = || asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|asked| asked == "true");
        if self.private_network && private() {
            headers.insert(ALLOW_PRIVATE_NETWORK, TRUE);
        }
        headers
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if !value.is_empty()
        && let Ok(value) = HeaderValue::from_str(value)
    {
        headers.insert(name, value);
    }
}
