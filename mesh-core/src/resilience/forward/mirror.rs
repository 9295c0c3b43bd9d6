//! Copies of requests, whose responses nobody awaits.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::head::{authority, set_authority};
use super::{SendError, Upstream, Upstreams};
use crate::balance::{self, Outcome};
use crate::filter::Connection;
use crate::request::Request as View;
use crate::resilience::BoxError;
use crate::resilience::limits::{Clock, TimeLimits};
use crate::resilience::progress::Progress;
use crate::resilience::replay::ReplayBody;
use crate::resilience::tracked::Tracked;
use crate::route::{Mirror, Selected};

/// A copy without a limit would live as long as its server likes.
const LONGEST: Duration = Duration::from_secs(15);

/// A copy to be sent.
pub(super) struct Copy<'t, C> {
    mirror: &'t Mirror,
    upstream: C,
}

/// The copies of a request, as chance will have it. Clusters that are not known get none.
pub(super) fn chosen<'t, U, B>(
    upstreams: &U,
    selected: &Selected<'t>,
    request: &View<'_>,
) -> SmallVec<[Copy<'t, U::Upstream>; 1]>
where
    U: Upstreams<B>,
{
    let taken = |mirror: &&Mirror| mirror.fraction.is_none_or(|fraction| fraction.takes(fastrand::u64(..)));
    let copy = |mirror: &'t Mirror| {
        let upstream = upstreams.upstream(mirror.cluster.of(request)?)?;
        Some(Copy { mirror, upstream })
    };
    selected.mirrors().iter().filter(taken).filter_map(copy).collect()
}

impl<C> Copy<'_, C> {
    /// Sends the copy. Nothing that becomes of it is seen by the request itself.
    pub(super) fn send<B>(
        self,
        head: &request::Parts,
        body: ReplayBody<B>,
        limit: Option<Duration>,
        progress: Progress,
    ) -> impl Future<Output = ()> + Send + use<C, B>
    where
        C: Upstream<ReplayBody<B>> + Send,
        C::Sending: Send,
        C::Body: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
    {
        let mut copy = Request::new(body);
        *copy.method_mut() = head.method.clone();
        *copy.uri_mut() = head.uri.clone();
        *copy.version_mut() = head.version;
        *copy.headers_mut() = head.headers.clone();
        if let Some(connection) = head.extensions.get::<Arc<Connection>>() {
            copy.extensions_mut().insert(Arc::clone(connection));
        }
        let (mut parts, body) = copy.into_parts();
        let authority = self.mirror.authority(authority(&parts));
        set_authority(&mut parts, &authority, false);
        let copy = Request::from_parts(parts, body);
        let upstream = self.upstream;
        async move {
            let request = balance::Request::default();
            let Ok(pick) = upstream.pick(&request, Instant::now().into_std()) else { return };
            let mut tracked = Tracked::new(pick);
            let sending = upstream.send(tracked.pick(), copy);
            let limits = TimeLimits { response: Some(limit.unwrap_or(LONGEST)), ..TimeLimits::default() };
            let mut clock = Clock::new(limits, progress);
            let in_time = {
                let mut carried_out = pin!(carry_out(sending, &mut tracked));
                poll_fn(|cx| match carried_out.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(true),
                    Poll::Pending => clock.poll(cx).map(|_| false),
                })
                .await
            };
            if !in_time {
                tracked.report(Outcome::TimedOut);
            }
        }
    }
}

async fn carry_out<S, R>(sending: S, tracked: &mut Tracked)
where
    S: Future<Output = Result<Response<R>, SendError>>,
    R: Body<Data = Bytes> + Unpin,
{
    match sending.await {
        Err(error) => tracked.handle_error(&error),
        Ok(response) => {
            tracked.handle_response(&response);
            let mut body = response.into_body();
            while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let Ok(frame) = frame else { return tracked.report(Outcome::Unreachable) };
                if let Some(trailers) = frame.trailers_ref() {
                    tracked.handle_trailers(trailers);
                }
            }
            tracked.handle_end();
        }
    }
}
