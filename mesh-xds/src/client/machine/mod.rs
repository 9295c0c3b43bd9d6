//! The client's side of both variants of the protocol, without sockets, tasks or clocks.
//!
//! ```text
//! subscribe ──► opened ──► first requests (subscribe again, versions held) ──► response ──► applied ──► ACK or NACK
//!                 ▲                                                              │
//!                 └────────────────────── stream ends: what is held stays ◄──────┘
//! ```
//!
//! One machine keeps what is wanted and what is held; of each of its servers it may have one stream at a time. What is sent
//! on a stream is asked for by [`Machine::poll_request`], so that a server that does not read costs no memory: changes of
//! what is wanted are joined until it does.

mod deadline;
mod delta;
mod sotw;
mod stream;
mod subscription;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use deadline::{Deadlines, Kind};
use stream::{Answer, OnStream, Stream};
pub use subscription::Interest;
use subscription::{Held, Subscription};

use crate::pb::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use crate::pb::{Node, Status};

/// gRPC's INVALID_ARGUMENT, the code of a NACK.
const INVALID_ARGUMENT: i32 = 3;

/// gRPC's NOT_FOUND: the resource does not exist.
const NOT_FOUND: i32 = 5;

/// The name by which everything of a type is meant.
const WILDCARD: &str = "*";

/// How long a resource that was asked for may take to come or to be denied before it counts as missing. gRFC A57.
const MISSING_AFTER: Duration = Duration::from_secs(15);

/// The same for a server whose silence is taken as its own trouble. gRFC A88.
const MISSING_AFTER_IF_TRANSIENT: Duration = Duration::from_secs(30);

/// Longest text of a NACK, in bytes: the reasons of a hundred thousand resources are not worth sending.
const MAX_REASON: usize = 16 * 1024;

/// Which variant of the protocol a server is spoken to in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Incremental: what changed, by resource.
    #[default]
    Delta,
    /// State of the world: the resources of a type together.
    StateOfTheWorld,
}

/// What a client knows of a server before it speaks to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerTraits {
    /// What the server is called in logs, and by which state on disk is known to be from it. Empty by default.
    pub name: String,
    /// How it is spoken to; delta by default.
    pub variant: Variant,
    /// Whether its versions mean the same as those of the other servers that say so: replicas that derive versions from
    /// content. After a change between such servers nothing is sent twice. `false` by default.
    pub replica: bool,
    /// Whether its silence about a resource is taken as its own trouble, which passes, and not as absence (gRFC A88's
    /// `resource_timer_is_transient_error`). The time is 30 s instead of 15 s then. `false` by default.
    pub silence_is_transient: bool,
}

impl ServerTraits {
    /// A server that is spoken to in this variant.
    #[must_use]
    pub fn new(name: impl Into<String>, variant: Variant) -> Self {
        Self { name: name.into(), variant, replica: false, silence_is_transient: false }
    }

    /// Whether versions of one server may be named to another.
    fn shares_versions(&self, other: &Self) -> bool {
        self.name == other.name || self.replica && other.replica
    }

    fn missing_after(&self) -> Duration {
        if self.silence_is_transient { MISSING_AFTER_IF_TRANSIENT } else { MISSING_AFTER }
    }
}

/// A request of either variant.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Of the delta variant.
    Delta(DeltaDiscoveryRequest),
    /// Of the state-of-the-world variant.
    StateOfTheWorld(DiscoveryRequest),
}

impl Request {
    pub(super) fn delta(self) -> Option<DeltaDiscoveryRequest> {
        if let Self::Delta(request) = self { Some(request) } else { None }
    }

    pub(super) fn state_of_the_world(self) -> Option<DiscoveryRequest> {
        if let Self::StateOfTheWorld(request) = self { Some(request) } else { None }
    }
}

/// A response of either variant.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// Of the delta variant.
    Delta(DeltaDiscoveryResponse),
    /// Of the state-of-the-world variant.
    StateOfTheWorld(DiscoveryResponse),
}

/// What a response says, to be applied before it is acknowledged.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Update {
    /// The type.
    pub type_url: String,
    /// New and changed resources, each with a body and a name that was asked for.
    pub upserts: Vec<Resource>,
    /// Names of resources that do not exist, or not any more. Unknown names may be among them.
    pub removed: Vec<String>,
    /// Resources that the server cannot give, and why; never `NOT_FOUND`, which is in `removed`. xRFC TP3.
    pub errors: Vec<(String, Status)>,
    /// Which of the servers said it; `None` when it is a deadline that passed.
    pub server: Option<usize>,
    /// What is wrong with the response itself: resources that are there twice, or have no name.
    faults: Vec<String>,
    /// Resources that are confirmed as they are held.
    heartbeats: Vec<Resource>,
    nonce: String,
    version: String,
}

/// A resource that was rejected, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its name.
    pub name: String,
    /// The reason, as the server should read it.
    pub reason: String,
}

/// A deadline passed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Expired {
    /// Resources whose time to live is over: to be applied as their removal.
    Removed(Update),
    /// Resources that were asked for and of which nothing was heard.
    Missing {
        /// The type.
        type_url: String,
        /// The names.
        names: Vec<String>,
        /// Whether that is the trouble of the server, and not the absence of the resource.
        transient: bool,
    },
}

/// What is wanted, what is held, and how far each stream is.
#[derive(Debug, Clone)]
pub struct Machine {
    node: Node,
    servers: Vec<ServerTraits>,
    types: Vec<Subscription>,
    /// The open stream to each server.
    streams: Vec<Option<Stream>>,
    deadlines: Deadlines,
}

impl Machine {
    /// A machine that wants nothing yet. `servers`: in the order in which they are preferred.
    #[must_use]
    pub fn new(node: Node, servers: Vec<ServerTraits>) -> Self {
        let streams = servers.iter().map(|_| None).collect();
        Self { node, servers, types: Vec::new(), streams, deadlines: Deadlines::default() }
    }

    /// The node, as the servers know it.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The servers, in the order in which they are preferred.
    #[must_use]
    pub fn servers(&self) -> &[ServerTraits] {
        &self.servers
    }

    /// Wants a type in this way. Types are asked for in the order in which they were first wanted.
    pub fn want(&mut self, type_url: &str, interest: Interest) {
        let index = self.index_or_new(type_url);
        if self.types[index].interest != interest {
            self.types[index].interest = interest;
            self.touch(index, interest == Interest::All, WILDCARD);
        }
    }

    /// Wants resources by name. What is wanted already is not asked for again.
    pub fn subscribe(&mut self, type_url: &str, names: impl IntoIterator<Item = String>) {
        let index = self.index_or_new(type_url);
        for name in names {
            if self.types[index].names.insert(name.clone()) {
                self.touch(index, true, &name);
            }
        }
    }

    /// Wants resources by name no more. What is held of them is forgotten.
    pub fn unsubscribe(&mut self, type_url: &str, names: &[String]) {
        let Some(index) = self.index(type_url) else { return };
        for name in names {
            if !self.types[index].names.remove(name) {
                continue;
            }
            self.types[index].absent.remove(name);
            self.deadlines.cancel(Kind::Missing, index, name);
            if self.types[index].interest == Interest::Named {
                self.types[index].held.remove(name);
                self.deadlines.cancel(Kind::TimeToLive, index, name);
            }
            self.touch(index, false, name);
        }
    }

    /// Takes over a resource that was held before a restart. `server`: from which it came, if that is known; `expires`: when
    /// its time to live ends.
    pub fn restore(
        &mut self,
        type_url: &str,
        name: &str,
        version: &str,
        server: Option<usize>,
        expires: Option<Instant>,
    ) {
        let index = self.index_or_new(type_url);
        let subscription = &mut self.types[index];
        if subscription.interest == Interest::OnDemand {
            subscription.names.insert(name.to_owned());
        }
        subscription.held.insert(name.to_owned(), Held { version: version.to_owned(), server });
        if let Some(expires) = expires {
            self.deadlines.set(Kind::TimeToLive, index, name, expires);
        }
    }

    /// A stream to a server was opened, or is being opened: what is wanted may be asked for on it.
    pub fn handle_opened(&mut self, server: usize) {
        if let Some(stream) = self.streams.get_mut(server) {
            *stream = Some(Stream::default());
        }
    }

    /// A stream ended. What is held stays; what was to come is waited for no longer, until it is asked for again.
    pub fn handle_closed(&mut self, server: usize) {
        if let Some(stream) = self.streams.get_mut(server) {
            *stream = None;
        }
        if self.streams.iter().all(Option::is_none) {
            self.deadlines.cancel_all(Kind::Missing);
        }
    }

    /// The next request that is due on the stream to a server.
    pub fn poll_request(&mut self, server: usize, now: Instant) -> Option<Request> {
        let variant = self.servers.get(server)?.variant;
        for index in 0..self.types.len() {
            let request = match variant {
                Variant::Delta => self.poll_delta(server, index, now).map(Request::Delta),
                Variant::StateOfTheWorld => self.poll_sotw(server, index, now).map(Request::StateOfTheWorld),
            };
            if request.is_some() {
                return request;
            }
        }
        None
    }

    /// A response came. Gives what to apply; nothing when the type was never asked for. Such a response is not even
    /// acknowledged: a first request for a type would subscribe to all of it.
    ///
    /// `name` reads the name of a resource from its type and body, which is all that the state-of-the-world variant gives.
    pub fn handle_response(
        &mut self,
        server: usize,
        response: Response,
        name: impl Fn(&str, &[u8]) -> Option<String>,
    ) -> Option<Update> {
        match response {
            Response::Delta(response) => self.handle_delta(server, response),
            Response::StateOfTheWorld(response) => self.handle_sotw(server, response, name),
        }
    }

    /// An update was applied, but for what was rejected. The ACK is now due, or the NACK that joins all reasons, which is
    /// given. Only what was accepted counts as held: a server must not believe that we have what we refused.
    pub fn handle_applied(&mut self, update: &Update, rejected: &[Rejected], now: Instant) -> Option<String> {
        let index = self.index(&update.type_url)?;
        for name in &update.removed {
            self.types[index].held.remove(name);
            self.deadlines.cancel(Kind::TimeToLive, index, name);
            self.settle(index, name, true);
        }
        let refused: HashSet<&str> = rejected.iter().map(|rejected| rejected.name.as_str()).collect();
        for resource in &update.upserts {
            for name in std::iter::once(&resource.name).chain(&resource.aliases) {
                self.settle(index, name, false);
            }
            if refused.contains(resource.name.as_str()) {
                self.disown(index, &resource.name);
                continue;
            }
            let held = Held { version: resource.version.clone(), server: update.server };
            self.types[index].held.insert(resource.name.clone(), held);
            self.live_until(index, resource, now);
        }
        for (name, _) in &update.errors {
            self.settle(index, name, false);
            self.disown(index, name);
        }
        for resource in &update.heartbeats {
            self.live_until(index, resource, now);
        }
        let reasons = update.faults.iter().cloned();
        let reasons = reasons.chain(rejected.iter().map(|one| format!("{}: {}", one.name, one.reason)));
        let reason = joined(reasons);
        self.types[index].synced |= reason.is_none() && update.server.is_some();
        if let Some(server) = update.server
            && let Some(Some(stream)) = self.streams.get_mut(server)
        {
            if reason.is_none() {
                self.types[index].accepted.insert(server, update.version.clone());
            }
            let error = reason.clone().map(|message| Status { code: INVALID_ARGUMENT, message, details: Vec::new() });
            stream.of(index).answers.push_back(Answer { nonce: update.nonce.clone(), error });
        }
        reason
    }

    /// When [`Machine::handle_timeout`] has something to say next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// What passed its deadline.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Expired> {
        let mut expired = Vec::new();
        for (kind, index, names) in self.deadlines.take(now) {
            let type_url = self.types[index].type_url.clone();
            match kind {
                Kind::TimeToLive => {
                    // What is asked for by name is asked for again: the server may believe that it is held.
                    for name in &names {
                        if self.types[index].names.contains(name) {
                            self.touch(index, true, name);
                        }
                    }
                    expired.push(Expired::Removed(Update { type_url, removed: names, ..Update::default() }));
                }
                Kind::Missing => {
                    let open = self.streams.iter().zip(&self.servers).find(|(stream, _)| stream.is_some());
                    let transient = open.is_some_and(|(_, server)| server.silence_is_transient);
                    self.types[index].absent.extend(names.iter().cloned());
                    expired.push(Expired::Missing { type_url, names, transient });
                }
            }
        }
        expired
    }

    /// Whether an answer of every type was accepted whole since start. Types that are asked for by name do not count.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.types.iter().all(|subscription| subscription.synced || subscription.interest != Interest::All)
    }

    /// Whether something is held of everything that is wanted, or known not to exist: nothing waits for a server.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.types.iter().all(Subscription::is_complete)
    }

    /// Name and version of every resource of a type that is held.
    pub fn held(&self, type_url: &str) -> impl Iterator<Item = (&str, &str)> {
        let subscription = self.types.iter().find(|subscription| subscription.type_url == type_url);
        let held = subscription.into_iter().flat_map(|subscription| &subscription.held);
        held.map(|(name, held)| (name.as_str(), held.version.as_str()))
    }

    fn index(&self, type_url: &str) -> Option<usize> {
        self.types.iter().position(|subscription| subscription.type_url == type_url)
    }

    fn index_or_new(&mut self, type_url: &str) -> usize {
        self.index(type_url).unwrap_or_else(|| {
            self.types.push(Subscription::new(type_url));
            self.types.len() - 1
        })
    }

    /// What is wanted of a type changed, by one name: every stream on which the type was asked for must hear it.
    fn touch(&mut self, index: usize, wanted: bool, name: &str) {
        for stream in self.streams.iter_mut().flatten() {
            stream.of(index).touch(wanted, name);
        }
    }

    /// Something was heard of a name.
    fn settle(&mut self, index: usize, name: &str, absent: bool) {
        self.deadlines.cancel(Kind::Missing, index, name);
        let subscription = &mut self.types[index];
        if absent && subscription.names.contains(name) {
            subscription.absent.insert(name.to_owned());
        } else {
            subscription.absent.remove(name);
        }
    }

    /// The server said something against what is held of a name, which may not be in use any more: on the next stream its
    /// version is not named, so that the resource is sent again.
    fn disown(&mut self, index: usize, name: &str) {
        if let Some(held) = self.types[index].held.get_mut(name) {
            held.server = None;
        }
    }

    /// The time to live of a resource begins anew, or ends.
    fn live_until(&mut self, index: usize, resource: &Resource, now: Instant) {
        self.deadlines.cancel(Kind::TimeToLive, index, &resource.name);
        let Some(ttl) = &resource.ttl else { return };
        let ttl = Duration::new(u64::try_from(ttl.seconds).unwrap_or(0), u32::try_from(ttl.nanos).unwrap_or(0));
        if let Some(at) = now.checked_add(ttl) {
            self.deadlines.set(Kind::TimeToLive, index, &resource.name, at);
        }
    }

    /// Names were asked for: of those of which nothing is known, something must be heard in time.
    fn expect(&mut self, server: usize, index: usize, names: &[String], now: Instant) {
        let after = self.servers[server].missing_after();
        for name in names {
            let subscription = &self.types[index];
            if name != WILDCARD && !subscription.held.contains_key(name) && !subscription.absent.contains(name) {
                self.deadlines.set_once(Kind::Missing, index, name, now + after);
            }
        }
    }

    fn on_stream(&mut self, server: usize, index: usize) -> Option<&mut OnStream> {
        Some(self.streams.get_mut(server)?.as_mut()?.of(index))
    }
}

/// The reasons of a NACK in one text of bounded length.
fn joined(reasons: impl Iterator<Item = String>) -> Option<String> {
    let (mut text, mut left) = (String::new(), 0_usize);
    for reason in reasons {
        if left > 0 || text.len() + reason.len() > MAX_REASON && !text.is_empty() {
            left += 1;
            continue;
        }
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.extend(reason.chars().take(MAX_REASON));
    }
    if left > 0 {
        text.push_str(&format!("; and {left} more"));
    }
    (!text.is_empty()).then_some(text)
}
