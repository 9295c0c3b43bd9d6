use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use smallvec::SmallVec;
use tokio::time::Instant;
use tower::Service;

use super::future::Finish;
use super::plan::{Plan, Retry};
use super::sending::Sending;
use super::{ForwardSettings, Forwarding, Spawn, Upstream, Upstreams, answer, head, mirror};
use crate::filter::{Answer, Exchange, Reached, Routed};
use crate::name::Text;
use crate::resilience::BoxError;
use crate::resilience::body::ResponseBody;
use crate::resilience::replay::{Replay, ReplayBody};
use crate::route::{Action, Redirect, RequestHash, Selection, Unrouted};

/// Sends requests on as their routes say; the service behind a chain of filters.
///
/// It takes the [`Exchange`] from the extensions of a request, in which its route stands, and puts it into those of the
/// response with what came of it. Everything that goes wrong is answered, as Envoy answers it.
pub struct Forwarder<U> {
    shared: Arc<Shared<U>>,
}

struct Shared<U> {
    upstreams: U,
    spawn: Box<dyn Spawn>,
    settings: ForwardSettings,
}

impl<U> Forwarder<U> {
    /// Requests go to these clusters; copies of requests are carried out by `spawn`.
    pub fn new(upstreams: U, spawn: impl Spawn + 'static, settings: ForwardSettings) -> Self {
        Self { shared: Arc::new(Shared { upstreams, spawn: Box::new(spawn), settings }) }
    }
}

impl<U> Clone for Forwarder<U> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<U> fmt::Debug for Forwarder<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl<U, B> Service<Request<B>> for Forwarder<U>
where
    U: Upstreams<ReplayBody<B>>,
    U::Upstream: Clone + Send + 'static,
    <U::Upstream as Upstream<ReplayBody<B>>>::Sending: Send,
    <U::Upstream as Upstream<ReplayBody<B>>>::Body: Send,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    type Response = Response<ResponseBody<<U::Upstream as Upstream<ReplayBody<B>>>::Body>>;
    type Error = Infallible;
    type Future = Forwarding<U::Upstream, B>;

    /// Always ready: which cluster is asked is only known with the request.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::take(&mut head);
        let grpc = exchange.request(&head).is_grpc();
        let selection = match &exchange.route {
            Routed::To(selection) => selection.clone(),
            Routed::Nowhere(Unrouted::TlsRequired) => {
                let redirect = Redirect::to_https();
                let location = redirect.location(&exchange.request(&head), 0);
                let answer = answer::redirect(redirect.status.code(), &location);
                return answered(answer, grpc, exchange, None);
            }
            Routed::Nowhere(_) | Routed::Unasked => return answered(answer::not_found(), grpc, exchange, None),
        };
        self.shared.forward(head, body, exchange, &selection, grpc)
    }
}

impl<U> Shared<U> {
    fn forward<B>(
        &self,
        mut head: http::request::Parts,
        body: B,
        mut exchange: Exchange,
        selection: &Selection,
        grpc: bool,
    ) -> Forwarding<U::Upstream, B>
    where
        U: Upstreams<ReplayBody<B>>,
        U::Upstream: Clone + Send + 'static,
        <U::Upstream as Upstream<ReplayBody<B>>>::Sending: Send,
        <U::Upstream as Upstream<ReplayBody<B>>>::Body: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
    {
        let selected = selection.selected();
        let request = exchange.request(&head);
        let forward = match &selected.route.action {
            Action::Forward(forward) => forward,
            Action::Redirect(redirect) => {
                let location = selected.location(&request).unwrap_or_default();
                let answer = answer::redirect(redirect.status.code(), &location);
                return answered(answer, grpc, exchange, Some((selection, &head)));
            }
            Action::Respond(direct) => {
                return answered(answer::direct(direct), grpc, exchange, Some((selection, &head)));
            }
            Action::NonForwarding => return answered(answer::not_found(), grpc, exchange, None),
        };
        let cluster = selected.cluster(&request).unwrap_or_default();
        let Some(upstream) = self.upstreams.upstream(cluster) else {
            let answer = answer::missing_cluster(forward.missing);
            return answered(answer, grpc, exchange, Some((selection, &head)));
        };
        let cluster = Text::from(cluster);
        let plan = Plan::new(&selected, forward, &request, &self.settings, self.settings.overrides.count_of(&exchange));
        let hash = RequestHash::new(&forward.hash, &request, None, exchange.random);
        let cookies = hash.cookies.iter().filter_map(|(key, value)| HeaderValue::try_from(key.set(value)).ok());
        let finish = Finish { method: head.method.clone(), grpc, cookies: cookies.collect() };
        let hash = hash.value;
        let mirrors = mirror::chosen(&self.upstreams, &selected, &request);
        if head::prepare(&mut head, &exchange, &selected, self.settings.envoy_headers).is_err() {
            return answered(answer::invalid_target(), grpc, exchange, Some((selection, &head)));
        }
        let again = !matches!(plan.retry, Retry::Never);
        let buffer = if again { selected.body_buffer().unwrap_or(self.settings.body_buffer) } else { 0 };
        let now = Instant::now();
        let replay = Replay::new(body, buffer, now);
        let progress = replay.progress();
        for copy in mirrors {
            let body = replay.copy(self.settings.mirror_buffer);
            self.spawn.spawn(Box::pin(copy.send(&head, body, plan.limits.response, progress.clone())));
        }
        exchange.upstream = Some(Reached { cluster, endpoint: None, attempts: 0 });
        let keeps_head = again || selected.edits_response();
        let sending = Sending {
            upstream,
            exchange: Some(exchange),
            plan,
            settings: self.settings,
            hash,
            priority: forward.priority,
            head: Some(head),
            keeps_head,
            replay,
            progress,
            tried: SmallVec::new(),
            priorities: SmallVec::new(),
        };
        Forwarding::sending(sending, finish)
    }
}

/// The route of a request that it answers by itself, or that cannot be followed, and the head of the request.
type At<'a> = Option<(&'a Selection, &'a http::request::Parts)>;

/// An answer that needs no server; the route edits it as any other.
fn answered<C, B>(answer: Answer, grpc: bool, mut exchange: Exchange, at: At<'_>) -> Forwarding<C, B>
where
    C: Upstream<ReplayBody<B>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    exchange.note(answer.flag, answer.details.clone());
    let answer = answer.edited(|headers| {
        if let Some((selection, head)) = at {
            selection.selected().edit_response(&exchange.request(head), headers);
        }
    });
    let mut response = answer.into_response(grpc).map(ResponseBody::answer);
    response.extensions_mut().insert(exchange);
    Forwarding::answered(response)
}
