use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Uri};
use mesh_core::balance::{self, CircuitGuard, PickError};
use mesh_core::live::Live;
use mesh_core::request::Request as Head;
use mesh_core::route::{self, Action, RequestHash, RetryPolicy, Selected, Unrouted};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use super::assembly::{Config, State};
use super::replay::Replay;
use super::tracked::{Tracked, outcome, status};
use super::upstream::{Picked, now};

/// How often a call is sent to another endpoint when the one that was picked could not be reached: nobody has seen it, so that
/// no policy is needed for it. gRPC never picks an endpoint without a connection.
const UNSEEN: u32 = 5;

/// A channel to a service that is found by xDS. A tower service that tonic's clients are made of; cheap to clone.
#[derive(Debug, Clone)]
pub struct Channel {
    authority: Arc<str>,
    state: Live<State>,
    now: fn() -> SystemTime,
    /// What hash policies know the channel by.
    id: u64,
}

impl Channel {
    pub(super) fn new(authority: Arc<str>, state: Live<State>, now: fn() -> SystemTime) -> Self {
        Self { authority, state, now, id: fastrand::u64(..) }
    }

    /// Waits until calls can be carried out, or cannot for a reason that the control plane gave.
    ///
    /// # Errors
    /// `UNAVAILABLE` with the reason.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ready(&self) -> Result<(), Status> {
        self.config().await.map(|_| ())
    }

    async fn config(&self) -> Result<Arc<Config>, Status> {
        let mut changes = self.state.changes();
        loop {
            match &*self.state.snapshot() {
                State::Pending => {}
                State::Ready(config) => return Ok(Arc::clone(config)),
                State::Failed(reason) => return Err(Status::unavailable(reason.as_ref())),
            }
            if changes.changed().await.is_err() {
                return Err(Status::unavailable("the channel's configuration is not followed any more"));
            }
        }
    }
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Status>> + Send>>;

    /// Always ready: which endpoint must be is only known with the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let channel = self.clone();
        Box::pin(async move {
            let config = channel.config().await?;
            Call::new(&channel, request).run(&config).await
        })
    }
}

/// One call, whose head stays as it came.
struct Call<'c> {
    channel: &'c Channel,
    method: http::Method,
    uri: Uri,
    version: http::Version,
    headers: HeaderMap,
    extensions: http::Extensions,
    body: Replay,
}

/// How an attempt failed.
enum Failed {
    /// With a response that may be tried again.
    Response(http::Response<Body>),
    /// No endpoint has seen the call.
    Unseen(Status),
    /// The stream broke off.
    Broken(Status),
    /// It took too long.
    TimedOut,
    /// It must not be tried again.
    Final(Status),
}

impl<'c> Call<'c> {
    fn new(channel: &'c Channel, request: http::Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        let http::request::Parts { method, uri, version, headers, extensions, .. } = parts;
        Self { channel, method, uri, version, headers, extensions, body: Replay::new(body) }
    }

    async fn run(self, config: &Config) -> Result<http::Response<Body>, Status> {
        let target = self.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let head = Head::new(&self.method, &self.channel.authority, target, &self.headers);
        let selected = config.table.find(&head, fastrand::u64(..)).map_err(unrouted)?;
        let Action::Forward(forward) = &selected.route.action else {
            return Err(Status::unavailable("the route of the call leads to no cluster"));
        };
        let name =
            selected.cluster(&head).ok_or_else(|| Status::unavailable("no header names the cluster of the call"))?;
        let upstream = match config.clusters.get(name) {
            Some(Ok(upstream)) => upstream,
            Some(Err(reason)) => return Err(Status::unavailable(format!("cluster `{name}`: {reason}"))),
            None => return Err(Status::unavailable(format!("cluster `{name}` is not known"))),
        };
        let hash = RequestHash::new(&forward.hash, &head, Some(self.channel.id), fastrand::u64(..)).value;
        let subset = selected.subset();
        let deadline =
            forward.timeouts(&head).stream.filter(|limit| !limit.is_zero()).map(|limit| Instant::now() + limit);
        let retry = selected.retry().filter(|retry| retry.is_for(&head));
        let (mut tries, mut unseen, mut guard) = (0, 0, None);
        loop {
            tries += 1;
            let attempt = tries + unseen - 1;
            let request =
                balance::Request { hash, attempt, priority: forward.priority, subset: Some(&subset), preferred: None };
            let picked = upstream.pick(&request, now()).map_err(|error| refused(name, &error))?;
            let circuit = picked.from.balancer().circuit();
            let per_try = retry.and_then(|retry| retry.per_try_timeout).map(|limit| Instant::now() + limit);
            let failed =
                match self.attempt(&selected, &head, picked, deadline, per_try, retry, tries, guard.take()).await {
                    Ok(response) => return Ok(response),
                    Err(failed) => failed,
                };
            if matches!(failed, Failed::Unseen(_)) && unseen < UNSEEN && self.body.can_begin_again() {
                (unseen, tries) = (unseen + 1, tries - 1);
                continue;
            }
            let again = retry.filter(|retry| should_retry(retry, &failed, tries) && self.body.can_begin_again());
            // Who may not retry says how the last attempt ended.
            guard = again.and_then(|_| circuit.try_retry(forward.priority, now()));
            let Some(retry) = again.filter(|_| guard.is_some()) else { return failed.end(&self.body) };
            let since = (self.channel.now)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let headers = if let Failed::Response(response) = &failed { Some(response.headers()) } else { None };
            let pause = retry.delay(tries, headers, since, fastrand::u64(..));
            if !pause_before(pause, deadline).await {
                return failed.end(&self.body);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that one attempt depends on; a struct would be used here alone")]
    async fn attempt(
        &self,
        selected: &Selected<'_>,
        head: &Head<'_>,
        picked: Picked<'_>,
        deadline: Option<Instant>,
        per_try: Option<Instant>,
        retry: Option<&RetryPolicy>,
        tries: u32,
        guard: Option<CircuitGuard>,
    ) -> Result<http::Response<Body>, Failed> {
        let Picked { mut pick, from } = picked;
        let transport = from.transport(&pick).map_err(|error| Failed::Final(Status::unavailable(error.to_string())))?;
        let request = self.request(selected, head, tries).map_err(Failed::Final)?;
        let sent = async {
            let mut transport = transport;
            transport.ready().await?.call(request).await
        };
        let first = [deadline, per_try].into_iter().flatten().min();
        let answered = match first {
            Some(first) => timeout_at(first, sent).await,
            None => Ok(sent.await),
        };
        let response = match answered {
            Err(_) => {
                pick.report(balance::Outcome::TimedOut, now());
                let over = deadline.is_some_and(|deadline| deadline <= Instant::now());
                let late = || Status::deadline_exceeded("the route's largest duration has passed");
                return Err(if over { Failed::Final(late()) } else { Failed::TimedOut });
            }
            Ok(Err(status)) => {
                pick.report(balance::Outcome::Unreachable, now());
                if self.body.was_read() {
                    return Err(Failed::Broken(status));
                }
                from.set_aside(pick.address(), now());
                return Err(Failed::Unseen(status));
            }
            Ok(Ok(response)) => response,
        };
        // A status among the headers is the whole answer; otherwise it comes at the end. An answer without success is none of
        // gRPC, and there will be no status.
        let http = (!response.status().is_success()).then(|| balance::Outcome::Status(response.status().as_u16()));
        let early = http.or_else(|| status(response.headers()).map(outcome));
        if let Some(outcome) = early {
            pick.report(outcome, now());
        }
        let seen = route::Outcome::Response { status: response.status().as_u16(), headers: response.headers() };
        if retry.is_some_and(|retry| retry.should_retry(seen, tries)) && self.body.can_begin_again() {
            return Err(Failed::Response(response));
        }
        self.body.commit();
        let (mut parts, body) = response.into_parts();
        selected.edit_response(head, &mut parts.headers);
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        let pick = Some(pick).filter(|_| early.is_none());
        Ok(http::Response::from_parts(parts, Body::new(Tracked { body, pick, deadline, _retry: guard })))
    }

    /// The request of one attempt.
    fn request(&self, selected: &Selected<'_>, head: &Head<'_>, tries: u32) -> Result<http::Request<Body>, Status> {
        let mut headers = self.headers.clone();
        selected.edit_request(&head.head, &mut headers);
        if tries > 1 {
            // gRFC A6.
            headers.insert("grpc-previous-rpc-attempts", HeaderValue::from(tries - 1));
        }
        let mut request = http::Request::new(self.body.attempt());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = headers;
        *request.extensions_mut() = self.extensions.clone();
        *request.uri_mut() = match selected.target(head) {
            None => self.uri.clone(),
            Some(target) => {
                target.parse().map_err(|_| Status::unavailable(format!("the route rewrites the path to `{target}`")))?
            }
        };
        Ok(request)
    }
}

impl Failed {
    /// What the caller is told.
    fn end(self, body: &Replay) -> Result<http::Response<Body>, Status> {
        body.commit();
        match self {
            Self::Response(response) => Ok(response),
            Self::Unseen(status) => Err(unavailable(&status)),
            Self::Broken(status) | Self::Final(status) => Err(status),
            Self::TimedOut => Err(Status::unavailable("no endpoint answered in the time of one attempt")),
        }
    }
}

fn should_retry(retry: &RetryPolicy, failed: &Failed, tries: u32) -> bool {
    // What breaks off is UNAVAILABLE to a client of gRPC, and is tried again as that or as what Envoy calls it.
    let broken = || {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from(Code::Unavailable as i32));
        retry.should_retry(route::Outcome::Response { status: 200, headers: &headers }, tries)
    };
    match failed {
        Failed::Response(_) => true,
        Failed::Unseen(_) => broken() || retry.should_retry(route::Outcome::ConnectFailure, tries),
        Failed::Broken(_) => broken() || retry.should_retry(route::Outcome::Reset { sent: true }, tries),
        Failed::TimedOut => retry.should_retry(route::Outcome::PerTryTimeout, tries),
        Failed::Final(_) => false,
    }
}

/// Whether there is time left after the pause.
async fn pause_before(pause: Duration, deadline: Option<Instant>) -> bool {
    let end = Instant::now() + pause;
    if deadline.is_some_and(|deadline| deadline <= end) {
        return false;
    }
    sleep_until(end).await;
    true
}

/// Whatever a transport calls it: a call that reached nobody is `UNAVAILABLE`.
fn unavailable(status: &Status) -> Status {
    match std::error::Error::source(status) {
        Some(source) => Status::unavailable(format!("{}: {}", status.message(), mesh_core::report::chain(source))),
        None => Status::unavailable(status.message()),
    }
}

fn refused(cluster: &str, error: &PickError) -> Status {
    Status::unavailable(format!("cluster `{cluster}`: {error}"))
}

fn unrouted(error: Unrouted) -> Status {
    Status::unavailable(format!("the call has no route: {error}"))
}
