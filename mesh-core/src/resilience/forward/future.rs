use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use smallvec::SmallVec;

use super::head::ATTEMPT_COUNT;
use super::sending::Sending;
use super::{EnvoyHeaders, Upstream, answer};
use crate::filter::{Answer, Flag};
use crate::resilience::BoxError;
use crate::resilience::attempts::{Attempts, End, Exhausted, Last};
use crate::resilience::body::{ResponseBody, Streaming, announced};
use crate::resilience::limits::Clock;
use crate::resilience::replay::ReplayBody;
use crate::resilience::tracked::Tracked;

const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

pin_project! {
    /// A response to come. Dropping it ends all attempts at once.
    pub struct Forwarding<C, B>
    where
        C: Upstream<ReplayBody<B>>,
        B: Body<Data = Bytes>,
        B: Unpin,
        B::Error: Into<BoxError>,
    {
        #[pin]
        state: State<C, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<C, B>
    where
        C: Upstream<ReplayBody<B>>,
        B: Body<Data = Bytes>,
        B: Unpin,
        B::Error: Into<BoxError>,
    {
        Answered { response: Option<Response<ResponseBody<C::Body>>> },
        Sending {
            #[pin]
            attempts: Attempts<Sending<C, B>>,
            clock: Option<Clock>,
            finish: Finish,
        },
    }
}

/// What the response needs to know of the request.
pub(super) struct Finish {
    pub(super) method: Method,
    pub(super) grpc: bool,
    /// For clients that are to come back to the same endpoint.
    pub(super) cookies: SmallVec<[HeaderValue; 1]>,
}

impl<C, B> Forwarding<C, B>
where
    C: Upstream<ReplayBody<B>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    pub(super) fn answered(response: Response<ResponseBody<C::Body>>) -> Self {
        Self { state: State::Answered { response: Some(response) } }
    }

    pub(super) fn sending(sending: Sending<C, B>, finish: Finish) -> Self {
        let clock = Some(Clock::new(sending.plan.limits, sending.progress.clone()));
        Self { state: State::Sending { attempts: Attempts::new(sending), clock, finish } }
    }
}

impl<C, B> fmt::Debug for Forwarding<C, B>
where
    C: Upstream<ReplayBody<B>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarding").finish_non_exhaustive()
    }
}

impl<C, B> Future for Forwarding<C, B>
where
    C: Upstream<ReplayBody<B>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Output = Result<Response<ResponseBody<C::Body>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = match this.state.as_mut().project() {
            StateProj::Answered { response } => match response.take() {
                Some(response) => response,
                None => return Poll::Pending,
            },
            StateProj::Sending { mut attempts, clock, finish } => {
                // First of all: what is too late is too late, even if an answer came in the meantime.
                let expired = clock.as_mut().map(|clock| clock.poll(cx));
                if let Some(Poll::Ready((expired, complete))) = expired {
                    attempts.as_mut().time_out();
                    let begun = attempts.begun();
                    let sending = attempts.tries_mut();
                    local(expired.answer(complete), finish, begun, sending)
                } else {
                    let end = ready!(attempts.as_mut().poll(cx));
                    let begun = attempts.begun();
                    let sending = attempts.tries_mut();
                    let Some(clock) = clock.take() else { return Poll::Pending };
                    finished(end, clock, finish, begun, sending)
                }
            }
        };
        // Whatever else is under way ends here, and not only when somebody drops this.
        this.state.set(State::Answered { response: None });
        Poll::Ready(Ok(response))
    }
}

fn finished<C, B>(
    end: End<Sending<C, B>>,
    clock: Clock,
    finish: &Finish,
    begun: u32,
    sending: &mut Sending<C, B>,
) -> Response<ResponseBody<C::Body>>
where
    C: Upstream<ReplayBody<B>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let flag = match end.exhausted {
        Some(Exhausted::Limit) => Some(Flag::UpstreamRetryLimitExceeded),
        Some(Exhausted::Budget) => Some(Flag::UpstreamOverflow),
        Some(Exhausted::Body) | None => None,
    };
    if let (Some(flag), Some(exchange)) = (flag, &mut sending.exchange) {
        exchange.flags.insert(flag);
    }
    match end.last {
        Last::Response(response, tracked) => {
            sending.replay.commit(end.number);
            answered(response, tracked, clock, finish, begun, sending)
        }
        Last::Failed(_) if sending.progress.peek().broken => {
            let answer = Answer::new(StatusCode::BAD_REQUEST, "the body broke off", "downstream_remote_disconnect");
            local(answer.flagged(Flag::DownstreamRemoteReset), finish, begun, sending)
        }
        Last::Failed(error) => local(answer::failed(&error), finish, begun, sending),
        Last::TimedOut => local(answer::attempt_timed_out(), finish, begun, sending),
        Last::Refused(error) => local(answer::refused(&error), finish, begun, sending),
    }
}

/// The response of a server.
fn answered<C, B>(
    response: Response<C::Body>,
    tracked: Tracked,
    mut clock: Clock,
    finish: &Finish,
    begun: u32,
    sending: &mut Sending<C, B>,
) -> Response<ResponseBody<C::Body>>
where
    C: Upstream<ReplayBody<B>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let (mut head, body) = response.into_parts();
    if let (EnvoyHeaders::Send, Some(ended)) = (sending.settings.envoy_headers, sending.progress.peek().ended) {
        let millis = u64::try_from(ended.elapsed().as_millis()).unwrap_or(u64::MAX);
        head.headers.insert(SERVICE_TIME, HeaderValue::from(millis));
    }
    clock.follow(sending.plan.per_try.idle);
    let missing = announced(&finish.method, &head);
    let streaming = Streaming { tracked: Some(tracked), clock: Some(clock), missing, ..Streaming::of(body) };
    if let Some(exchange) = &mut sending.exchange {
        exchange.note(None, "via_upstream");
    }
    last_edits(&mut head.headers, finish, begun, sending);
    with_exchange(Response::from_parts(head, ResponseBody::server(streaming)), sending)
}

/// An answer of our own.
fn local<C, B>(
    answer: Answer,
    finish: &Finish,
    begun: u32,
    sending: &mut Sending<C, B>,
) -> Response<ResponseBody<C::Body>>
where
    C: Upstream<ReplayBody<B>>,
{
    if let Some(exchange) = &mut sending.exchange {
        exchange.note(answer.flag, answer.details.clone());
    }
    let answer = answer.edited(|headers| last_edits(headers, finish, begun, sending));
    with_exchange(answer.into_response(finish.grpc).map(ResponseBody::answer), sending)
}

/// What the route does to every response, and what is known of how it came about.
fn last_edits<C, B>(headers: &mut HeaderMap, finish: &Finish, begun: u32, sending: &Sending<C, B>) {
    if let Some(selected) = sending.selected() {
        if selected.host.attempt_count_in_response && begun > 0 {
            headers.insert(ATTEMPT_COUNT, HeaderValue::from(begun));
        }
        if let (Some(exchange), Some(head)) = (&sending.exchange, &sending.head) {
            selected.edit_response(&exchange.request(head), headers);
        }
    }
    for cookie in &finish.cookies {
        headers.append(SET_COOKIE, cookie.clone());
    }
}

fn with_exchange<R, C, B>(mut response: Response<R>, sending: &mut Sending<C, B>) -> Response<R> {
    if let Some(exchange) = sending.exchange.take() {
        response.extensions_mut().insert(exchange);
    }
    response
}
