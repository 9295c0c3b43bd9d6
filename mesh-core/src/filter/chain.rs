use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request};
use http_body::Body;
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use tower::{Layer, Service};

use super::body::Beginning;
use super::{Answer, Begun, Exchange, Filter, FilterBody, Flag, Resume, Routed, Step, Wait};
use crate::live::Live;
use crate::name::Text;
use crate::route::{FilterOverride, RouteTable};

/// A filter and the name by which routes speak of it.
#[derive(Clone)]
pub struct Named {
    /// The name.
    pub name: Text,
    /// The filter.
    pub filter: Arc<dyn Filter>,
    /// Whether it runs only where a route overrides it.
    pub disabled: bool,
}

impl Named {
    /// A filter that runs everywhere, unless a route disables it.
    pub fn new(name: impl Into<Text>, filter: impl Filter + 'static) -> Self {
        Self { name: name.into(), filter: Arc::new(filter), disabled: false }
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("name", &self.name).field("disabled", &self.disabled).finish_non_exhaustive()
    }
}

/// The filters that requests pass, in this order, and the routes that one is chosen of before the first of them.
///
/// A filter that changes what a route is chosen by asks for another choice with [`Exchange::reroute`].
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// The routes; without any, requests have none.
    pub routes: Option<Arc<RouteTable>>,
    /// The filters.
    pub filters: Vec<Named>,
}

impl Chain {
    /// What a route says about a filter; `None` if the filter does not run.
    fn runs(&self, at: usize, exchange: &mut Exchange) -> bool {
        let Some(named) = self.filters.get(at) else { return false };
        exchange.current = named.name.clone();
        match exchange.overriding() {
            Some(FilterOverride::Disabled) => false,
            Some(_) => true,
            None => !named.disabled,
        }
    }

    fn choose_route(&self, head: &request::Parts, exchange: &mut Exchange) {
        if let (Some(routes), Routed::Unasked) = (&self.routes, &exchange.route) {
            exchange.route = match routes.select(&exchange.request(head), exchange.random) {
                Ok(selection) => Routed::To(selection),
                Err(unrouted) => Routed::Nowhere(unrouted),
            };
        }
    }
}

/// Puts filters before a service.
#[derive(Debug, Clone)]
pub struct FilterLayer {
    chain: Live<Chain>,
}

impl FilterLayer {
    /// One filter.
    pub fn new(filter: impl Filter + 'static) -> Self {
        Self::chain(Live::constant(Chain { routes: None, filters: vec![Named::new("", filter)] }))
    }

    /// Filters that may change. The chain that is current when a request comes is the one it passes to its end.
    #[must_use]
    pub fn chain(chain: Live<Chain>) -> Self {
        Self { chain }
    }
}

impl<S> Layer<S> for FilterLayer {
    type Service = Filtered<S>;

    fn layer(&self, inner: S) -> Filtered<S> {
        Filtered { chain: self.chain.clone(), inner }
    }
}

/// A service behind filters. It finds the [`Exchange`] among the request's extensions, and may put it among those of its
/// response with what it has noted; there, whoever is further out finds it.
#[derive(Debug, Clone)]
pub struct Filtered<S> {
    chain: Live<Chain>,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Filtered<S>
where
    S: Service<Request<Begun<B>>, Response = Response<R>> + Clone,
    B: Body<Data = Bytes> + Unpin,
    R: Body<Data = Bytes> + Unpin,
{
    type Response = Response<FilterBody<R>>;
    type Error = S::Error;
    type Future = Filtering<S, B, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that is ready takes the request; the one that stays behind is a copy of it.
        let spare = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, spare);
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::take(&mut head);
        let grpc = exchange.request(&head).is_grpc();
        let work = Work { head, exchange, body: Begun::new(body), inner };
        Filtering {
            passed: Passed { chain: self.chain.snapshot(), ran: SmallVec::new(), next: 0, grpc },
            state: State::Asking { work: Some(work), waiting: None },
        }
    }
}

/// A request before it reaches the service.
struct Work<S, B> {
    head: request::Parts,
    exchange: Exchange,
    body: Begun<B>,
    inner: S,
}

/// Which filters a request has passed.
struct Passed {
    chain: Arc<Chain>,
    ran: SmallVec<[usize; 8]>,
    next: usize,
    grpc: bool,
}

impl Passed {
    /// The response, as the filters that the request has passed edit it, the last one first.
    fn finish<R>(&self, response: Response<R>, mut exchange: Exchange) -> Response<R> {
        let (mut head, body) = response.into_parts();
        for at in self.ran.iter().rev() {
            if let Some(named) = self.chain.filters.get(*at) {
                exchange.current = named.name.clone();
                named.filter.on_response(&mut head, &mut exchange);
            }
        }
        head.extensions.insert(exchange);
        Response::from_parts(head, body)
    }

    fn answer<R>(&self, answer: Answer, head: &request::Parts, mut exchange: Exchange) -> Response<FilterBody<R>> {
        exchange.note(answer.flag, answer.details.clone());
        let answer = answer.edited(|headers| exchange.edit_response(head, headers));
        self.finish(answer.into_response(self.grpc).map(FilterBody::Answer), exchange)
    }
}

pin_project! {
    /// The response of a service behind filters.
    pub struct Filtering<S, B, F> {
        passed: Passed,
        #[pin]
        state: State<S, B, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Asking { work: Option<Work<S, B>>, waiting: Option<Wait> },
        Calling { #[pin] response: F, kept: Option<Exchange> },
    }
}

impl<S, B, F> fmt::Debug for Filtering<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filtering").finish_non_exhaustive()
    }
}

/// What becomes of a request that has passed, or not passed, its filters.
enum Asked {
    Passed,
    Answered(Answer),
}

impl<S, B: Body<Data = Bytes> + Unpin> Work<S, B> {
    fn poll(&mut self, passed: &mut Passed, waiting: &mut Option<Wait>, cx: &mut Context<'_>) -> Poll<Asked> {
        let Self { head, exchange, body, .. } = self;
        loop {
            let step = match waiting {
                Some(wait) => {
                    let resume: Resume = ready!(wait.as_mut().poll(cx));
                    *waiting = None;
                    resume(head, exchange)
                }
                None => {
                    passed.chain.choose_route(head, exchange);
                    let Some(named) = passed.chain.filters.get(passed.next) else { return Poll::Ready(Asked::Passed) };
                    if !passed.chain.runs(passed.next, exchange) {
                        passed.next += 1;
                        continue;
                    }
                    if let Some(demand) = named.filter.body(head, exchange) {
                        match ready!(body.poll_begin(cx, demand.max_bytes)) {
                            Ok(Beginning::Whole(bytes)) => exchange.body = Some(bytes),
                            Ok(Beginning::Part(bytes)) if demand.allow_partial => exchange.body = Some(bytes),
                            Ok(Beginning::Part(_)) => return Poll::Ready(Asked::Answered(too_large())),
                            Err(_) => return Poll::Ready(Asked::Answered(broken())),
                        }
                    }
                    named.filter.on_request(head, exchange)
                }
            };
            match step {
                Step::Next => {
                    passed.ran.push(passed.next);
                    passed.next += 1;
                    exchange.body = None;
                }
                Step::Answer(answer) => return Poll::Ready(Asked::Answered(answer)),
                Step::Wait(wait) => *waiting = Some(wait),
            }
        }
    }
}

fn too_large() -> Answer {
    Answer::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large to be looked at", "request_payload_too_large")
}

fn broken() -> Answer {
    let answer = Answer::new(StatusCode::BAD_REQUEST, "the body broke off", "downstream_body_broke_off");
    answer.flagged(Flag::DownstreamRemoteReset)
}

impl<S, B, R> Future for Filtering<S, B, S::Future>
where
    S: Service<Request<Begun<B>>, Response = Response<R>>,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = Result<Response<FilterBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Asking { work, waiting } => {
                    let Some(asking) = work.as_mut() else { return Poll::Pending };
                    let asked = ready!(asking.poll(this.passed, waiting, cx));
                    let Some(Work { head, exchange, body, mut inner }) = work.take() else { return Poll::Pending };
                    match asked {
                        Asked::Answered(answer) => return Poll::Ready(Ok(this.passed.answer(answer, &head, exchange))),
                        Asked::Passed => {
                            let mut request = Request::from_parts(head, body);
                            // Few services give it back; the filters need it for the response.
                            let kept = Some(exchange.clone());
                            request.extensions_mut().insert(exchange);
                            let response = inner.call(request);
                            this.state.set(State::Calling { response, kept });
                        }
                    }
                }
                StateProj::Calling { response, kept } => {
                    let mut response = ready!(response.poll(cx))?;
                    let exchange = response.extensions_mut().remove::<Exchange>().or_else(|| kept.take());
                    let response = response.map(FilterBody::Service);
                    return Poll::Ready(Ok(match exchange {
                        Some(exchange) => this.passed.finish(response, exchange),
                        None => response,
                    }));
                }
            }
        }
    }
}
