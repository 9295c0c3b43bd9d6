use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::PingPong;
use h2::client::SendRequest;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mesh_core::balance::{Circuit, CircuitGuard, HttpProtocol};
use mesh_core::route::Priority;
use mesh_identity::task::Tasks;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::dial::{Admitted, Admitting, Counted, Dialled};
use super::error::{Overflow, SendError};
use super::lease::{Http1Connection, Http1Lease, Http2Lease, Lease};
use super::{ClientSettings, Counting, http1 as one, http2 as two};
use crate::http::body::Body;
use crate::http::limits::UPSTREAM_INITIAL_STREAMS;

/// The connections to one endpoint, and the requests that wait for one.
pub(super) struct Pool {
    dial: Box<dyn Fn() -> Dialled + Send + Sync>,
    protocol: HttpProtocol,
    pub(super) settings: ClientSettings,
    circuit: Circuit,
    admit: Admitting,
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last used is taken first, so that those that are not needed age.
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    waiting: VecDeque<Waiter>,
    /// Connections that are there.
    open: usize,
    /// Connections that are being opened.
    dialling: usize,
    /// Whether the last connection turned out to be HTTP/1.1.
    is_http1: bool,
    retired: bool,
    last_id: u64,
}

struct Idle {
    connection: Http1Connection,
    since: Instant,
}

struct Shared {
    id: u64,
    sender: SendRequest<Bytes>,
    active: usize,
    served: u32,
    idle: Instant,
    ping: Ping,
}

/// To learn that what the endpoint sent first has been read.
pub(super) type Ping = Arc<tokio::sync::Mutex<Option<PingPong>>>;

struct Waiter {
    lease: oneshot::Sender<Result<Lease, SendError>>,
    priority: Priority,
}

/// What a connection turned out to speak.
#[expect(clippy::large_enum_variant, reason = "one per connection, and taken apart at once")]
pub(super) enum Established {
    Http1(http1::SendRequest<Body>, http1::Connection<TokioIo<Counted>, Body>),
    Http2(SendRequest<Bytes>, h2::client::Connection<Counted, Bytes>),
}

impl Pool {
    pub(super) fn new(
        dial: Box<dyn Fn() -> Dialled + Send + Sync>,
        protocol: HttpProtocol,
        settings: ClientSettings,
        circuit: Circuit,
        admit: Admitting,
        tasks: Tasks,
    ) -> Arc<Self> {
        let state = Mutex::new(State { is_http1: protocol == HttpProtocol::Http1, ..State::default() });
        Arc::new(Self { dial, protocol, settings, circuit, admit, tasks, state })
    }

    /// A connection for a request, and the count of the request itself.
    pub(super) async fn lease(
        self: &Arc<Self>,
        priority: Priority,
    ) -> Result<(Lease, Option<CircuitGuard>), SendError> {
        let waits = {
            let mut state = self.state.lock();
            match self.take(&mut state) {
                Some(lease) => {
                    drop(state);
                    return self.count(lease, priority);
                }
                None => {
                    let pending = self.circuit.try_pending(priority);
                    let pending = pending.ok_or(SendError::Overflow(Overflow::Pending))?;
                    let (sender, receiver) = oneshot::channel();
                    state.waiting.push_back(Waiter { lease: sender, priority });
                    self.dial_if_wanted(&mut state);
                    (receiver, pending)
                }
            }
        };
        let (receiver, pending) = waits;
        // Dropped only with the pool, and then nobody is left to wait.
        let lease = receiver.await.unwrap_or(Err(SendError::ConnectTimeout))?;
        drop(pending);
        self.count(lease, priority)
    }

    pub(super) fn connections(&self) -> usize {
        let state = self.state.lock();
        state.open + state.dialling
    }

    /// Keeps no connection any more; those in use end with what they are used for.
    pub(super) fn retire(&self) {
        let (idle, shared) = {
            let mut state = self.state.lock();
            state.retired = true;
            (std::mem::take(&mut state.idle), std::mem::take(&mut state.shared))
        };
        drop((idle, shared));
    }

    pub(super) fn free_http1(self: &Arc<Self>, connection: Http1Connection) {
        if connection.sender.is_ready() {
            self.keep_http1(connection);
        } else if !connection.sender.is_closed() {
            // The response has ended, and the connection has yet to see it, or the request has yet to end.
            let pool = Arc::clone(self);
            let mut connection = connection;
            self.tasks.spawn(async move {
                if connection.sender.ready().await.is_ok() {
                    pool.keep_http1(connection);
                }
            });
        }
    }

    fn keep_http1(self: &Arc<Self>, connection: Http1Connection) {
        let mut state = self.state.lock();
        if state.retired || self.is_used_up(connection.served) {
            drop(state);
            return;
        }
        state.idle.push(Idle { connection, since: Instant::now() });
        self.serve_waiting(&mut state);
    }

    pub(super) fn free_http2(self: &Arc<Self>, id: u64) {
        let mut state = self.state.lock();
        if let Some(shared) = state.shared.iter_mut().find(|shared| shared.id == id) {
            shared.active -= 1;
            if shared.active == 0 {
                shared.idle = Instant::now();
            }
            self.serve_waiting(&mut state);
        }
    }

    /// Gives no more requests to a connection.
    pub(super) fn shun_http2(&self, id: u64) {
        self.state.lock().shared.retain(|shared| shared.id != id);
    }

    /// That of a connection that still takes requests.
    pub(super) fn ping(&self, id: u64) -> Option<Ping> {
        let state = self.state.lock();
        state.shared.iter().find(|shared| shared.id == id).map(|shared| Arc::clone(&shared.ping))
    }

    fn count(&self, lease: Lease, priority: Priority) -> Result<(Lease, Option<CircuitGuard>), SendError> {
        if self.settings.counting == Counting::ByCaller {
            return Ok((lease, None));
        }
        match self.circuit.try_request(priority, Instant::now().into_std()) {
            Some(guard) => Ok((lease, Some(guard))),
            None => Err(SendError::Overflow(Overflow::Requests)),
        }
    }

    fn is_used_up(&self, served: u32) -> bool {
        self.settings.max_requests_per_connection.is_some_and(|limit| served >= limit.get())
    }

    /// A connection that has room.
    fn take(self: &Arc<Self>, state: &mut State) -> Option<Lease> {
        let limit = self.settings.concurrent_streams;
        let room = |shared: &Shared| shared.active < limit.min(shared.sender.current_max_send_streams()).max(1);
        if let Some(at) = state.shared.iter().position(room) {
            let shared = &mut state.shared[at];
            shared.active += 1;
            shared.served = shared.served.saturating_add(1);
            let (id, is_reused) = (shared.id, shared.served > 1);
            let sender = shared.sender.clone();
            if self.is_used_up(shared.served) {
                state.shared.remove(at);
            }
            return Some(Lease::Http2(Http2Lease { pool: Some(Arc::clone(self)), id, sender, is_reused }));
        }
        while let Some(Idle { mut connection, .. }) = state.idle.pop() {
            // A new one is not known to be ready before it is first used, and takes one request in any case.
            if connection.sender.is_ready() || (connection.served == 0 && !connection.sender.is_closed()) {
                connection.served = connection.served.saturating_add(1);
                return Some(Lease::Http1(Http1Lease { pool: Arc::clone(self), connection: Some(connection) }));
            }
        }
        None
    }

    fn serve_waiting(self: &Arc<Self>, state: &mut State) {
        while !state.waiting.is_empty() {
            let Some(mut lease) = self.take(state) else { break };
            loop {
                let Some(waiter) = state.waiting.pop_front() else {
                    self.put_back(state, lease);
                    return;
                };
                match waiter.lease.send(Ok(lease)) {
                    Ok(()) => break,
                    // Gone meanwhile: the next one gets it.
                    Err(Ok(unwanted)) => lease = unwanted,
                    Err(Err(_)) => return,
                }
            }
        }
        self.dial_if_wanted(state);
    }

    /// As dropping it, but with the state at hand.
    fn put_back(&self, state: &mut State, lease: Lease) {
        match lease {
            Lease::Http1(mut lease) => {
                if let Some(mut connection) = lease.connection.take() {
                    connection.served -= 1;
                    state.idle.push(Idle { connection, since: Instant::now() });
                }
            }
            Lease::Http2(mut lease) => {
                if let Some(shared) = state.shared.iter_mut().find(|shared| shared.id == lease.id) {
                    shared.active -= 1;
                }
                lease.pool = None;
            }
        }
    }

    fn dial_if_wanted(self: &Arc<Self>, state: &mut State) {
        while state.waiting.front().is_some_and(|waiter| waiter.lease.is_closed()) {
            state.waiting.pop_front();
        }
        let per_dial = match self.protocol {
            HttpProtocol::Http2 => self.settings.concurrent_streams.clamp(1, UPSTREAM_INITIAL_STREAMS),
            HttpProtocol::Auto if !state.is_http1 => {
                self.settings.concurrent_streams.clamp(1, UPSTREAM_INITIAL_STREAMS)
            }
            _ => 1,
        };
        while state.waiting.len() > state.dialling * per_dial {
            let Some(waiter) = state.waiting.get(state.dialling * per_dial) else { return };
            let connections = state.open + state.dialling;
            let guard = (self.admit)(waiter.priority, connections);
            // An endpoint without any connection may have one whatever the limit: nothing else would ever wake those that
            // wait here.
            if guard.is_none() && connections > 0 {
                return;
            }
            state.dialling += 1;
            let dialling = Dialling { pool: Arc::clone(self), ended: false };
            self.tasks.spawn(dialling.run(guard));
        }
    }

    fn connected(self: &Arc<Self>, established: Established) {
        let mut state = self.state.lock();
        state.dialling -= 1;
        state.open += 1;
        state.last_id += 1;
        let id = state.last_id;
        match established {
            Established::Http1(sender, connection) => {
                state.is_http1 = true;
                let connection_of = Http1Connection { id, sender, served: 0 };
                state.idle.push(Idle { connection: connection_of, since: Instant::now() });
                self.tasks.spawn(one::drive(Arc::clone(self), id, connection));
            }
            Established::Http2(sender, mut connection) => {
                let ping = Arc::new(tokio::sync::Mutex::new(connection.ping_pong()));
                state.is_http1 = false;
                state.shared.push(Shared { id, sender, active: 0, served: 0, idle: Instant::now(), ping });
                self.tasks.spawn(two::drive(Arc::clone(self), id, connection));
            }
        }
        self.serve_waiting(&mut state);
    }

    /// All who wait are told: the endpoint is not there for any of them, and each can go elsewhere.
    fn failed(&self, error: &SendError) {
        let waiting = {
            let mut state = self.state.lock();
            state.dialling -= 1;
            std::mem::take(&mut state.waiting)
        };
        for waiter in waiting {
            // Whoever has gone meanwhile needs no answer.
            let _ = waiter.lease.send(Err(error.clone()));
        }
    }

    /// A connection has ended.
    pub(super) fn closed(self: &Arc<Self>, id: u64) {
        let mut state = self.state.lock();
        state.open -= 1;
        state.shared.retain(|shared| shared.id != id);
        let gone = state.idle.iter().position(|idle| idle.connection.id == id).map(|at| state.idle.remove(at));
        self.dial_if_wanted(&mut state);
        drop(state);
        drop(gone);
    }

    /// Lets go of a connection that was idle for too long; else tells when it may be.
    pub(super) fn reap(&self, id: u64, limit: Duration) -> Option<Instant> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let since = if let Some(at) = state.idle.iter().position(|idle| idle.connection.id == id) {
            let since = state.idle[at].since;
            if since + limit <= now {
                drop(state.idle.remove(at));
                return None;
            }
            since
        } else if let Some(at) = state.shared.iter().position(|shared| shared.id == id) {
            let shared = &state.shared[at];
            let since = if shared.active == 0 { shared.idle } else { now };
            if since + limit <= now {
                drop(state.shared.remove(at));
                return None;
            }
            since
        } else {
            now
        };
        Some(since + limit)
    }
}

/// A connection that is being opened. Whatever becomes of it, those who wait hear of it.
struct Dialling {
    pool: Arc<Pool>,
    ended: bool,
}

impl Dialling {
    async fn run(mut self, guard: Option<Admitted>) {
        let timeout = self.pool.settings.connect_timeout;
        let established = tokio::time::timeout(timeout, self.establish(guard)).await;
        self.ended = true;
        match established {
            Ok(Ok(established)) => self.pool.connected(established),
            Ok(Err(error)) => self.pool.failed(&error),
            Err(_) => self.pool.failed(&SendError::ConnectTimeout),
        }
    }

    async fn establish(&self, guard: Option<Admitted>) -> Result<Established, SendError> {
        let io = (self.pool.dial)().await.map_err(|error| SendError::Connect(error.into()))?;
        let is_http2 = match self.pool.protocol {
            HttpProtocol::Http2 => true,
            HttpProtocol::Auto => io.alpn() == Some(b"h2"),
            _ => false,
        };
        let io = Counted { io, _guard: guard };
        if is_http2 { two::handshake(io, &self.pool.settings).await } else { one::handshake(io).await }
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        if !self.ended {
            self.pool.failed(&SendError::ConnectTimeout);
        }
    }
}
