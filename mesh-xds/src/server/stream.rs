use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, Stream};
use mesh_core::live::Changes;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::cache::{Cache, Snapshot};
use super::machine::{self, Error, Progress};
use super::sotw;
use crate::limits::MAX_MESSAGE_BYTES;
use crate::pb;
use crate::pb::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};

/// How long an answer waits for the client to accept another that must come first.
const PATIENCE: Duration = Duration::from_secs(5);

/// Decides who may open a stream.
pub trait Access: fmt::Debug + Send + Sync + 'static {
    /// Names the client that a call comes from.
    ///
    /// # Errors
    /// The status with which the call is refused.
    fn admit(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<String, Status>;
}

/// What a client is and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStatus {
    /// By whom it was admitted as.
    pub client: String,
    /// The node id that it gives itself.
    pub node: String,
    /// How far it is with each type.
    pub types: BTreeMap<String, Progress>,
}

/// The aggregated discovery service over a cache: delta and state-of-the-world streams on one port.
#[derive(Debug, Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cache: Cache,
    access: Arc<dyn Access>,
    order: Vec<&'static str>,
    clients: Mutex<BTreeMap<u64, ClientStatus>>,
    numbers: AtomicU64,
    drain: CancellationToken,
}

impl Service {
    /// A service over a cache. `order` lists the types that must reach a client before others when several change at
    /// once.
    #[must_use]
    pub fn new(cache: Cache, access: Arc<dyn Access>, order: &[&'static str]) -> Self {
        let inner = Inner {
            cache,
            access,
            order: order.to_vec(),
            clients: Mutex::default(),
            numbers: AtomicU64::new(0),
            drain: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The tonic server.
    #[must_use]
    pub fn server(&self) -> AggregatedDiscoveryServiceServer<Self> {
        AggregatedDiscoveryServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// All clients with an open stream.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientStatus> {
        self.inner.clients.lock().values().cloned().collect()
    }

    /// Ends all streams with UNAVAILABLE, so that clients go to another server and come back later.
    pub fn drain(&self) {
        self.inner.drain.cancel();
    }
}

/// One of both protocols.
trait Protocol: Default + Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;

    fn handle_request(&mut self, request: &Self::Request) -> Result<(), Error>;
    fn poll_response(&mut self, snapshot: &Snapshot, order: &[&str], patient: bool) -> Option<Self::Response>;
    fn is_holding(&self) -> bool;
    fn progress(&self) -> BTreeMap<String, Progress>;
    /// The type of a request, what it says against an answer, and the node.
    fn said(request: Self::Request) -> (String, Option<pb::Status>, Option<pb::Node>);
}

macro_rules! protocol {
    ($machine:ty, $request:ty, $response:ty) => {
        impl Protocol for $machine {
            type Request = $request;
            type Response = $response;

            fn handle_request(&mut self, request: &$request) -> Result<(), Error> {
                Self::handle_request(self, request)
            }

            fn poll_response(&mut self, snapshot: &Snapshot, order: &[&str], patient: bool) -> Option<$response> {
                Self::poll_response(self, snapshot, order, patient)
            }

            fn is_holding(&self) -> bool {
                Self::is_holding(self)
            }

            fn progress(&self) -> BTreeMap<String, Progress> {
                Self::progress(self).map(|(url, progress)| (url.to_owned(), progress.clone())).collect()
            }

            fn said(request: $request) -> (String, Option<pb::Status>, Option<pb::Node>) {
                (request.type_url, request.error_detail, request.node)
            }
        }
    };
}

protocol!(machine::Machine, DeltaDiscoveryRequest, DeltaDiscoveryResponse);
protocol!(sotw::Machine, DiscoveryRequest, DiscoveryResponse);

/// An answer, or the status that ends the stream.
type Answer<P> = Result<<P as Protocol>::Response, Status>;

/// One open stream.
struct Open<P: Protocol> {
    service: Arc<Inner>,
    number: u64,
    requests: Streaming<P::Request>,
    changes: Changes<Snapshot>,
    machine: P,
    /// Since when an answer waits for the client to accept another.
    held_since: Option<Instant>,
    ended: bool,
}

impl<P: Protocol> Open<P> {
    /// The next answer. Computed when the transport asks for one, so that a client that does not read costs no memory but
    /// its own subscriptions.
    async fn next(&mut self) -> Option<Answer<P>> {
        loop {
            if self.ended {
                return None;
            }
            // Requests that are there already count before the first answer: what a client asks for together is answered
            // in the order of types.
            while let Some(request) = self.requests.message().now_or_never() {
                match self.take(request) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(end) => return end,
                }
            }
            let snapshot = self.changes.current();
            let patient = self.held_since.is_none_or(|since| since.elapsed() < PATIENCE);
            if let Some(response) = self.machine.poll_response(&snapshot, &self.service.order, patient) {
                self.report(None);
                return Some(Ok(response));
            }
            self.held_since = match self.machine.is_holding() {
                true => self.held_since.or_else(|| Some(Instant::now())),
                false => None,
            };
            let held_until = self.held_since.map(|since| since + PATIENCE);
            drop(snapshot);
            let drain = self.service.drain.clone();
            tokio::select! {
                biased;
                () = drain.cancelled() => {
                    self.ended = true;
                    return Some(Err(Status::unavailable("the server ends")));
                }
                request = self.requests.message() => match self.take(request) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(end) => return end,
                },
                () = async { tokio::time::sleep_until(held_until.unwrap_or_else(Instant::now)).await },
                    if held_until.is_some() => {}
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        self.ended = true;
                        return Some(Err(Status::unavailable("nothing is served any more")));
                    }
                }
            }
        }
    }

    /// Takes a request, or the end of requests, which ends the stream.
    fn take(&mut self, request: Result<Option<P::Request>, Status>) -> ControlFlow<Option<Answer<P>>> {
        match request {
            Ok(Some(request)) => {
                if let Err(error) = self.machine.handle_request(&request) {
                    self.ended = true;
                    return ControlFlow::Break(Some(Err(Status::invalid_argument(error.to_string()))));
                }
                let (type_url, error, node) = P::said(request);
                if let Some(detail) = error {
                    tracing::warn!(type_url, reason = detail.message, "client rejected an answer");
                }
                self.report(node.map(|node| node.id));
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Break(None),
            Err(status) => {
                tracing::debug!(%status, "client stream failed");
                ControlFlow::Break(None)
            }
        }
    }

    fn report(&self, node: Option<String>) {
        if let Some(status) = self.service.clients.lock().get_mut(&self.number) {
            if let Some(node) = node {
                status.node = node;
            }
            status.types = self.machine.progress();
        }
    }
}

impl<P: Protocol> Drop for Open<P> {
    fn drop(&mut self) {
        self.service.clients.lock().remove(&self.number);
    }
}

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.open::<sotw::Machine>(request)
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.open::<machine::Machine>(request)
    }
}

impl Service {
    fn open<P: Protocol>(
        &self,
        request: Request<Streaming<P::Request>>,
    ) -> Result<Response<Answers<P::Response>>, Status> {
        let client = self.inner.access.admit(request.metadata(), request.extensions())?;
        let number = self.inner.numbers.fetch_add(1, Ordering::Relaxed);
        tracing::info!(client, "discovery stream opened");
        self.inner.clients.lock().insert(number, ClientStatus { client, ..ClientStatus::default() });
        let open = Open {
            service: Arc::clone(&self.inner),
            number,
            requests: request.into_inner(),
            changes: self.inner.cache.live().changes(),
            machine: P::default(),
            held_since: None,
            ended: false,
        };
        let answers = futures_util::stream::unfold(open, |mut open| async move {
            let answer = open.next().await?;
            Some((answer, open))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
