use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::time::{Instant, Sleep};

use super::Settings;
use super::answer::{BoxError, Context, is_bodiless, with_length};
use crate::hbone::HboneStream;
use crate::http::body::{Body, BodyError};
use crate::http::interim::Interim;
use crate::http::pipe::{Pipe, PipeError};
use crate::http::upgrade::{OnUpgrade, to_extended_response};
use crate::http::watch::{Expiry, Watch};

/// How a stream ended.
pub(super) enum Ended {
    Done,
    /// The client reset it before it had its answer.
    Reset,
}

/// Serves one request of HTTP/2.
pub(super) async fn serve<S, X>(
    context: Arc<Context<S, X>>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Ended
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    X: Clone + Send + Sync + 'static,
{
    let watch = Arc::new(Watch::start());
    let mut timer = pin!(Timer::new(&watch, &context.settings));
    let (parts, receive) = request.into_parts();
    let mut method = parts.method.clone();
    let mut request = Request::from_parts(parts, Body::empty());
    let mut tunnel = None;
    let mut extended = false;
    if method == Method::CONNECT {
        watch.request_ended();
        if request.extensions().get::<h2::ext::Protocol>().is_some() {
            extended = true;
            method = Method::GET;
        }
        let (sender, pending) = OnUpgrade::http2_client();
        request.extensions_mut().insert(pending);
        tunnel = Some((sender, receive));
    } else {
        let body = Body::http2(receive, request.headers()).with_watch(Arc::clone(&watch));
        *request.body_mut() = body;
    }

    let mut response = match context.admit(request) {
        Err(refused) => *refused,
        Ok((mut request, admitted)) => {
            request.extensions_mut().insert(Interim::of(Arc::clone(&watch)));
            if admitted.expects_continue && !request.body().is_end_stream() {
                let mut interim = Response::new(());
                *interim.status_mut() = StatusCode::CONTINUE;
                // The client may be gone, and is found to be below.
                let _ = respond.send_informational(interim);
            }
            let answered = {
                let mut called = pin!(context.call(request, &watch));
                poll_fn(|cx| {
                    let answer = called.as_mut().poll(cx);
                    while let Some(interim) = watch.next_said(cx) {
                        watch.touch();
                        // As above.
                        let _ = respond.send_informational(interim);
                    }
                    if let Poll::Ready(answer) = answer {
                        return Poll::Ready(Some(answer));
                    }
                    if respond.poll_reset(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    // Found in the watch by whoever calls, which is asked again at once.
                    if timer.as_mut().poll(cx).is_ready() {
                        return called.as_mut().poll(cx).map(Some);
                    }
                    Poll::Pending
                })
                .await
            };
            match answered {
                None => return Ended::Reset,
                Some(Ok(response)) => response,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a service failed");
                    respond.send_reset(reason(&*error.0));
                    return Ended::Done;
                }
            }
        }
    };

    let Ok(switches) = context.finish(&method, tunnel.is_some(), &mut response) else {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return Ended::Done;
    };
    response.headers_mut().remove(http::header::CONNECTION);
    *response.version_mut() = Version::HTTP_2;
    if let Some((sender, receive)) = tunnel.take_if(|_| switches) {
        if extended {
            to_extended_response(&mut response);
        }
        if let Ok(send) = respond.send_response(response.map(drop), false) {
            // It is a stream of the connection as long as it lasts.
            sender.switch(HboneStream::new(send, receive)).wait().await;
        }
        return Ended::Done;
    }

    let bodiless = is_bodiless(&method, response.status()) || response.body().is_end_stream();
    if !bodiless {
        with_length(&mut response);
    }
    let (head, body) = response.into_parts();
    let Ok(send) = respond.send_response(Response::from_parts(head, ()), bodiless) else { return Ended::Reset };
    if bodiless {
        return Ended::Done;
    }
    watch.touch();
    let mut pipe = Pipe::new(Outgoing { body, watch: &watch }, send);
    let sent = poll_fn(|cx| match Pin::new(&mut pipe).poll(cx) {
        Poll::Ready(sent) => Poll::Ready(Ok(sent)),
        Poll::Pending => timer.as_mut().poll(cx).map(Err),
    });
    match sent.await {
        Ok(Ok(())) => Ended::Done,
        Ok(Err(PipeError::Peer)) => Ended::Reset,
        Ok(Err(PipeError::Body(error))) => {
            tracing::debug!(%error, "a response broke off");
            Ended::Done
        }
        Err(expiry) => {
            tracing::debug!(%expiry, "a response broke off");
            pipe.reset(BodyError::Expired(expiry).reason());
            Ended::Done
        }
    }
}

/// The reason for a reset that a service asks for by its error.
fn reason(error: &(dyn std::error::Error + 'static)) -> Reason {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason().unwrap_or(Reason::INTERNAL_ERROR);
        }
        next = error.source();
    }
    Reason::INTERNAL_ERROR
}

/// The body of a response; every frame counts as movement.
struct Outgoing<'a> {
    body: Body,
    watch: &'a Watch,
}

impl http_body::Body for Outgoing<'_> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.watch.touch();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Ends when a limit of time of a request has passed.
struct Timer<'a> {
    watch: &'a Watch,
    settings: &'a Settings,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<'a> Timer<'a> {
    const fn new(watch: &'a Watch, settings: &'a Settings) -> Self {
        Self { watch, settings, sleep: None }
    }
}

impl Future for Timer<'_> {
    type Output = Expiry;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Expiry> {
        loop {
            if let Some(sleep) = &mut self.sleep
                && sleep.as_mut().poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            match self.watch.check(Instant::now(), &self.settings.timeouts) {
                Err(expiry) => return Poll::Ready(expiry),
                Ok(None) => return Poll::Pending,
                Ok(Some(next)) => match &mut self.sleep {
                    Some(sleep) => sleep.as_mut().reset(next),
                    None => self.sleep = Some(Box::pin(tokio::time::sleep_until(next))),
                },
            }
        }
    }
}
