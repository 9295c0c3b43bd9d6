use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use mesh_core::live::Changes;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::access::Demand;
use super::cache::Snapshot;
use super::error::Error;
use super::ledger::{Heard, truncated};
use super::limits::{MAX_NODE_BYTES, MAX_REQUESTS_AT_ONCE};
use super::observe::{Push, Rejection};
use super::precedence::is_chained;
use super::protocol::{Protocol, Subscription};
use super::publication::Follower;
use super::registry::{Registered, Served};
use super::rules::Rules;
use super::service::Inner;
use super::timing::{Gathering, Pacer, Patience};
use super::turn::Turn;
use crate::pb::Node;

/// How long a stream may be open without a request: it is kept for a client that says nothing.
const FIRST_REQUEST: Duration = Duration::from_secs(60);

/// An answer, or the status that ends the stream.
type Answer<P> = Result<<P as Protocol>::Response, Status>;

/// One open stream.
pub(super) struct Open<P: Protocol> {
    service: Arc<Inner>,
    registered: Registered,
    requests: Streaming<P::Request>,
    pacer: Pacer,
    opened: Instant,
    /// Begins with the first request.
    serving: Option<Serving<P>>,
    turn: Turn,
    drain: watch::Receiver<Option<Duration>>,
    ends_at: Option<Instant>,
    ended: bool,
}

/// A stream whose client is known.
struct Serving<P> {
    machine: Arc<Mutex<P>>,
    changes: Changes<Snapshot>,
    /// What is served; behind `changes` while they are gathered.
    snapshot: Arc<Snapshot>,
    gathering: Option<Gathering>,
    patience: Patience,
    heartbeat: Option<Instant>,
    follower: Arc<Follower>,
    /// The publication of which everything was sent that may be.
    sent: u64,
    demand: Option<Arc<dyn Demand>>,
    /// Cancelled when the view does not hold any more.
    end: CancellationToken,
}

impl<P: Protocol> Open<P> {
    pub(super) fn new(
        service: Arc<Inner>,
        registered: Registered,
        requests: Streaming<P::Request>,
        drain: watch::Receiver<Option<Duration>>,
    ) -> Self {
        let opened = Instant::now();
        let pacer = Pacer::new(service.settings.pace, opened);
        let turn = Turn::new(service.turns.as_ref());
        Self { service, registered, requests, pacer, opened, serving: None, turn, drain, ends_at: None, ended: false }
    }

    /// The next answer. Computed when the transport asks for one, so that a client that does not read costs no memory but
    /// its own subscriptions and the answer that it does not take; nor are its requests read then.
    pub(super) async fn next(&mut self) -> Option<Answer<P>> {
        loop {
            if self.ended {
                return None;
            }
            // Requests that are there already count before the first answer: what a client asks for together is answered
            // in the order of types.
            let mut left = MAX_REQUESTS_AT_ONCE;
            while left > 0
                && self.pacer.ready_at() <= Instant::now()
                && let Some(request) = self.requests.message().now_or_never()
            {
                left -= 1;
                if let ControlFlow::Break(end) = self.take(request) {
                    return end;
                }
            }
            if let Some(serving) = &mut self.serving
                && !self.turn.is_waiting()
            {
                let (client, observer) = (&self.registered.peer().client, &*self.service.observer);
                if let Some(answer) = serving.poll(&self.service.settings.order) {
                    let push = serving.push(client, &answer, Instant::now());
                    observer.pushed(&push);
                    return Some(Ok(answer));
                }
                let now = Instant::now();
                let settled = serving.is_settled();
                self.turn.end(settled, now);
                if settled {
                    let settled = serving.follower.settle(serving.snapshot.publication);
                    settled
                        .own
                        .iter()
                        .for_each(|since| observer.settled(client, now.saturating_duration_since(*since)));
                    settled.all.iter().for_each(|since| observer.converged(now.saturating_duration_since(*since)));
                }
            }
            if left == 0 {
                // Others of the connection have their turn.
                tokio::task::yield_now().await;
                continue;
            }
            if let ControlFlow::Break(end) = self.wait().await {
                return end;
            }
        }
    }

    /// Waits until something may have become due.
    async fn wait(&mut self) -> ControlFlow<Option<Answer<P>>> {
        let now = Instant::now();
        if self.ends_at.is_some_and(|ends_at| ends_at <= now) {
            return self.end(Status::unavailable("the server ends"));
        }
        let asked_by = Some(self.opened + FIRST_REQUEST).filter(|_| self.serving.is_none());
        if asked_by.is_some_and(|asked_by| asked_by <= now) {
            return self.end(Status::deadline_exceeded("no request came"));
        }
        let readable_at = Some(self.pacer.ready_at()).filter(|ready_at| *ready_at > now);
        let due = self.serving.as_ref().and_then(Serving::due);
        let wake_at = [self.ends_at, asked_by, readable_at, due, self.turn.ends()].into_iter().flatten().min();
        let asked = self.serving.is_some();
        let ended = self.registered.peer().end.clone();
        let outdated = self.serving.as_ref().map(|serving| serving.end.clone()).unwrap_or_default();
        let changed = async {
            match &mut self.serving {
                Some(serving) => serving.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ended.cancelled() => self.end(Status::unavailable("come back to be admitted anew")),
            () = outdated.cancelled() => self.end(Status::unavailable("come back to be admitted anew")),
            // The sender lives as long as the service.
            _ = self.drain.changed() => {
                let over = self.drain.borrow_and_update().unwrap_or_default();
                let ends_at = Instant::now().checked_add(over.mul_f64(fastrand::f64()));
                self.ends_at = [self.ends_at, ends_at].into_iter().flatten().min();
                ControlFlow::Continue(())
            }
            () = self.turn.come(), if asked => ControlFlow::Continue(()),
            request = self.requests.message(), if readable_at.is_none() => self.take(request),
            () = tokio::time::sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => ControlFlow::Continue(()),
            served = changed => match served {
                true => ControlFlow::Continue(()),
                false => self.end(Status::unavailable("nothing is served any more")),
            },
        }
    }

    /// Takes a request, or the end of requests, which ends the stream.
    fn take(&mut self, request: Result<Option<P::Request>, Status>) -> ControlFlow<Option<Answer<P>>> {
        let request = match request {
            Ok(Some(request)) => request,
            Ok(None) => return ControlFlow::Break(None),
            Err(status) => {
                tracing::debug!(%status, "client stream failed");
                // Too large, or no message at all: who can still read is told.
                return self.end(status);
            }
        };
        let now = Instant::now();
        self.pacer.take(now);
        if self.serving.is_none() {
            match self.begin(&request, now) {
                Ok(serving) => self.serving = Some(serving),
                Err(status) => return self.end(status),
            }
        }
        let Some(serving) = &mut self.serving else { return ControlFlow::Continue(()) };
        let heard = serving.hear(&request, now);
        match heard {
            Ok(Heard::Rejected) => {
                let (type_url, detail) = P::said(&request);
                let reason = detail.map(|detail| truncated(&detail.message));
                let peer = self.registered.peer();
                let client = &peer.client;
                tracing::warn!(client, type_url, reason, "client rejected an answer");
                let node = peer.served.get().map_or("", |served| &served.node.id);
                let rejection = Rejection { client, node, type_url, reason: reason.unwrap_or_default() };
                self.service.observer.rejected(&rejection);
                ControlFlow::Continue(())
            }
            Ok(Heard::Accepted) => {
                if is_chained(P::said(&request).0) {
                    serving.patience.begin_anew(now);
                }
                ControlFlow::Continue(())
            }
            Ok(Heard::Nothing) => ControlFlow::Continue(()),
            Err(error) => self.end(match error.is_limit() {
                true => Status::resource_exhausted(error.to_string()),
                false => Status::invalid_argument(error.to_string()),
            }),
        }
    }

    /// What the first request says decides what the stream is served.
    fn begin(&self, request: &P::Request, now: Instant) -> Result<Serving<P>, Status> {
        let Some(node) = P::node(request) else {
            return Err(Status::invalid_argument("`node` is missing in the first request"));
        };
        if node.encoded_len() > MAX_NODE_BYTES {
            return Err(Status::resource_exhausted(format!("`node` is larger than {MAX_NODE_BYTES} bytes")));
        }
        let peer = self.registered.peer();
        let view = self.service.access.view(&peer.client, node)?;
        let cache = view.cache.unwrap_or_else(|| self.service.cache.clone());
        let (permissions, on_demand) = (view.permissions, view.demand.is_some());
        let rules = Rules { permissions, on_demand, ..self.service.rules.clone() };
        let mut machine = P::open(rules);
        machine.core_mut().clock.advance(now.into_std());
        let machine = Arc::new(Mutex::new(machine));
        let follower = Arc::new(cache.followers.follow());
        let changes = cache.live().changes();
        let snapshot = changes.current();
        let serving = Serving {
            machine: Arc::<Mutex<P>>::clone(&machine),
            sent: snapshot.publication,
            snapshot,
            changes,
            gathering: self.service.settings.debounce.map(Gathering::new),
            patience: Patience::default(),
            heartbeat: None,
            follower: Arc::clone(&follower),
            demand: view.demand,
            end: view.end,
        };
        // Envoy lists all that it is built of; nobody asks for it here.
        let node = Node { extensions: Vec::new(), ..node.clone() };
        let _first = peer.served.set(Served { node, cache, machine, since: now, follower });
        Ok(serving)
    }

    fn end(&mut self, status: Status) -> ControlFlow<Option<Answer<P>>> {
        self.ended = true;
        ControlFlow::Break(Some(Err(status)))
    }
}

impl<P: Protocol> Serving<P> {
    /// Takes a request, and has made what it asks for.
    fn hear(&mut self, request: &P::Request, now: Instant) -> Result<Heard, Error> {
        let mut machine = self.machine.lock();
        machine.core_mut().clock.advance(now.into_std());
        let heard = machine.handle_request(request)?;
        let (type_url, _) = P::said(request);
        if let Some(demand) = &self.demand
            && let Some(subscription) = machine.core().types.get(type_url)
        {
            demand.asked(type_url, subscription.wanted().1);
            // Also while changes are gathered: else the answer would be that it is not there.
            self.snapshot = self.changes.current();
        }
        Ok(heard)
    }

    /// The next answer that is due.
    fn poll(&mut self, order: &[&str]) -> Option<P::Response> {
        let now = Instant::now();
        if self.gathering.as_mut().is_none_or(|gathering| gathering.take(now)) {
            self.snapshot = self.changes.current();
        }
        let patient = self.patience.lasts(now);
        let mut machine = self.machine.lock();
        machine.core_mut().clock.advance(now.into_std());
        let answer = machine.poll_response(&self.snapshot, order, patient);
        let core = machine.core();
        if answer.is_none() {
            self.heartbeat = core.next_heartbeat().map(Instant::from_std);
            self.patience.held(core.holding, now);
            self.sent = self.snapshot.publication;
        } else if core.overtakes {
            // The client has as long again for this one.
            self.patience.begin_anew(now);
        }
        answer
    }

    /// Whether the client has answered all of what it is served.
    fn is_settled(&self) -> bool {
        self.machine.lock().core().is_settled()
    }

    /// What an answer is, for who observes.
    fn push<'a>(&self, client: &'a str, answer: &'a P::Response, now: Instant) -> Push<'a> {
        let (type_url, resources, removed, bytes) = P::told(answer);
        let caused = self.snapshot.taken.filter(|_| self.snapshot.publication > self.sent);
        let after = caused.map(|taken| now.saturating_duration_since(taken));
        Push { client, type_url, resources, removed, bytes, after }
    }

    /// When something is due though nothing happens.
    fn due(&self) -> Option<Instant> {
        let gathered = self.gathering.as_ref().and_then(Gathering::due);
        [self.patience.ends(), gathered, self.heartbeat].into_iter().flatten().min()
    }

    /// Waits for a change; `false`: there will be none any more.
    async fn changed(&mut self) -> bool {
        let changed = self.changes.changed().await.is_ok();
        if let Some(gathering) = &mut self.gathering {
            gathering.changed(Instant::now());
        }
        changed
    }
}
