use http::{StatusCode, request};
use serde_json::Value;

use super::{Answer, Connection, Exchange, Filter, Step};
use crate::authz::http::{Authorization, AuthorizationPolicy, Mesh};
use crate::authz::rbac::{Denial, Facts, Peer, RbacFilter, Verdict};
use crate::live::Live;
use crate::name::Text;
use crate::route::FilterOverride;

/// Access control on requests: 403 for what may not pass, and the policy that is to blame in [`Answer::details`]. A route may
/// have rules of its own instead.
///
/// What shadow rules say is put into the metadata of `envoy.filters.http.rbac`, as `shadow_engine_result`, which is `allowed`
/// or `denied`, and `shadow_effective_policy_id`, behind their prefix. Rules that log set `access_log_hint` of
/// `envoy.common`. All this is as Envoy has it.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::{Empty, Full};
/// use mesh_core::authz::http::{Authorization, AuthorizationPolicy, Mesh, Operation, PolicyAction, Rule, Values};
/// use mesh_core::filter::{Authorize, Begun, FilterLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let admin = Operation { paths: Values::any_of(["/admin/*"]), ..Operation::default() };
/// let rule = Rule { to: vec![admin], ..Rule::default() };
/// let policy = AuthorizationPolicy::new("shop/no-admin".parse()?, PolicyAction::Deny, vec![rule]);
///
/// let authorize = Authorize::policies(&[policy], &Mesh::default());
/// let service = FilterLayer::new(authorize).layer(service_fn(async |_: Request<Begun<Empty<Bytes>>>| {
///     Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("hello"))))
/// }));
/// let ask = async |path| service.clone().oneshot(Request::get(path).body(Empty::new()).unwrap()).await;
/// assert_eq!(ask("/cart").await?.status(), StatusCode::OK);
/// assert_eq!(ask("/admin/users").await?.status(), StatusCode::FORBIDDEN);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Authorize {
    authorization: Live<Authorization>,
}

/// The filter's name in metadata, whatever it is called in its chain.
const METADATA: &str = "envoy.filters.http.rbac";
/// Where stands what several filters say.
const COMMON: &str = "envoy.common";

impl Authorize {
    /// By one set of rules, as Envoy's filter has it.
    #[must_use]
    pub fn new(filter: RbacFilter) -> Self {
        Self::live(Live::constant(Authorization::from(filter)))
    }

    /// By policies. Whoever wants to know what of them could not be understood compiles them with
    /// [`Authorization::compile`], and uses [`live`](Self::live).
    #[must_use]
    pub fn policies(policies: &[AuthorizationPolicy], mesh: &Mesh) -> Self {
        Self::live(Live::constant(Authorization::compile(policies, mesh)))
    }

    /// By what may change: a request is judged by what is current when it comes.
    #[must_use]
    pub fn live(authorization: Live<Authorization>) -> Self {
        Self { authorization }
    }
}

impl Filter for Authorize {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        if let Some(FilterOverride::Rbac(filter)) = exchange.overriding() {
            let facts = exchange.facts(head);
            let (shadow, verdict) = (filter.evaluate_shadow(&facts), filter.evaluate(&facts));
            let (prefix, logs) = (filter.shadow_prefix().clone(), filter.logs());
            return judge(exchange, shadow, &prefix, verdict, logs).map_or(Step::Next, Step::Answer);
        }
        let authorization = self.authorization.load();
        for filter in authorization.filters() {
            let facts = exchange.facts(head);
            let (shadow, verdict) = (filter.evaluate_shadow(&facts), filter.evaluate(&facts));
            if let Some(answer) = judge(exchange, shadow, filter.shadow_prefix(), verdict, filter.logs()) {
                return Step::Answer(answer);
            }
        }
        Step::Next
    }
}

impl Connection {
    /// What access control looks at before there is a request.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        let peer = self.peer.as_ref();
        Facts {
            destination: self.destination,
            direct_remote: self.direct_remote.ip(),
            source: self.source.ip(),
            remote: self.source.ip(),
            server_name: self.server_name.as_ref().map(Text::as_str),
            peer: peer.map(|peer| Peer {
                uris: &peer.uris,
                dns_names: &peer.dns_names,
                subject: peer.subject.as_str(),
            }),
            request: None,
            metadata: None,
        }
    }
}

impl Exchange {
    /// What access control looks at.
    #[must_use]
    pub fn facts<'a>(&'a self, head: &'a request::Parts) -> Facts<'a> {
        Facts {
            remote: self.remote,
            request: Some(self.request(head)),
            metadata: Some(&self.metadata),
            ..self.connection.facts()
        }
    }
}

/// Notes what rules say, and answers if they refuse.
fn judge(
    exchange: &mut Exchange,
    shadow: Option<Verdict>,
    shadow_prefix: &Text,
    verdict: Verdict,
    logs: bool,
) -> Option<Answer> {
    if let Some(shadow) = shadow {
        let (result, policy) = match &shadow {
            Verdict::Allowed(permit) => ("allowed", permit.policy()),
            Verdict::Denied(denial) => ("denied", denial.policy.as_ref()),
        };
        if let Some(policy) = policy {
            let key = format!("{shadow_prefix}shadow_effective_policy_id");
            exchange.metadata.set(METADATA, &key, Value::from(policy.as_str()));
        }
        exchange.metadata.set(METADATA, &format!("{shadow_prefix}shadow_engine_result"), Value::from(result));
    }
    match verdict {
        Verdict::Allowed(permit) => {
            if logs {
                exchange.metadata.set(COMMON, "access_log_hint", Value::from(permit.is_logged()));
            }
            None
        }
        Verdict::Denied(denial) => Some(refusal(&denial)),
    }
}

fn refusal(Denial { policy, .. }: &Denial) -> Answer {
    let policy = policy.as_ref().map_or("none", Text::as_str).replace(char::is_whitespace, "_");
    let details = format!("rbac_access_denied_matched_policy[{policy}]");
    Answer::new(StatusCode::FORBIDDEN, "RBAC: access denied", details)
}
