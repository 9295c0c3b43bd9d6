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
use super::{Upstream, Upstreams};
use crate::balance::{self, Outcome};
use crate::filter::Connection;
use crate::request::Request as View;
use crate::resilience::BoxError;
use crate::resilience::body::{ResponseBody, Streaming};
use crate::resilience::limits::{Clock, TimeLimits};
use crate::resilience::progress::Progress;
use crate::resilience::replay::ReplayBody;
use crate::resilience::tracked::Tracked;
use crate::route::{Mirror, Selected};

/// A copy without a limit would live as long as its server likes.
pub(in crate::resilience) const LONGEST: Duration = Duration::from_secs(15);

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
            let sending = upstream.send(&pick, copy);
            let limits = TimeLimits { response: Some(limit.unwrap_or(LONGEST)), ..TimeLimits::default() };
            let clock = Clock::new(limits, progress);
            discard(sending, clock, Some(Tracked::new(pick)), |tracked, error| tracked.handle_error(&error)).await;
        }
    }
}

/// Awaits a response for as long as it may take, and reads it to its end, so that its connection can be used again.
pub(in crate::resilience) async fn discard<R, E>(
    sending: impl Future<Output = Result<Response<R>, E>>,
    mut clock: Clock,
    mut tracked: Option<Tracked>,
    blame: impl FnOnce(&mut Tracked, E),
) where
    R: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let sent = {
        let mut sending = pin!(sending);
        poll_fn(|cx| match sending.as_mut().poll(cx) {
            Poll::Ready(sent) => Poll::Ready(Some(sent)),
            Poll::Pending => clock.poll(cx).map(|_| None),
        })
        .await
    };
    let response = match (sent, &mut tracked) {
        (Some(Ok(response)), None) => response,
        (Some(Ok(response)), Some(tracked)) => {
            tracked.handle_response(&response);
            response
        }
        (Some(Err(error)), Some(tracked)) => return blame(tracked, error),
        (None, Some(tracked)) => return tracked.report(Outcome::TimedOut),
        (_, None) => return,
    };
    let body = response.into_body();
    let mut body = ResponseBody::server(Streaming { tracked, clock: Some(clock), ..Streaming::of(body) });
    while poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some() {}
}
