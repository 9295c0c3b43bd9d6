use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status, Streaming};

use super::access::Access;
use super::cache::Cache;
use super::limits::MAX_REQUEST_BYTES;
use super::observe::{Observe, Unobserved};
use super::protocol::Protocol;
use super::registry::{ClientStatus, Holding, Registry};
use super::rules::Rules;
use super::settings::Settings;
use super::status::StatusService;
use super::stream::Open;
use super::{machine, sotw};
use crate::limits::MAX_MESSAGE_BYTES;
use crate::pb::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use crate::pb::status::client_status_discovery_service_server::ClientStatusDiscoveryServiceServer;

/// The aggregated discovery service over a cache: delta and state-of-the-world streams on one port.
///
/// Every stream begins with a request that names its node; without one it ends with INVALID_ARGUMENT (Envoy, gRPC and ztunnel
/// all send it). A request that breaks the protocol ends its stream with INVALID_ARGUMENT, one that breaks a limit
/// ([`limits`](super::limits)) with RESOURCE_EXHAUSTED.
#[derive(Debug, Clone)]
pub struct Service {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) cache: Cache,
    pub(super) access: Arc<dyn Access>,
    pub(super) settings: Settings,
    /// For every client, until its view is known.
    pub(super) rules: Rules,
    pub(super) registry: Arc<Registry>,
    pub(super) observer: Arc<dyn Observe>,
    /// Turns of first answers; `None`: there is no limit.
    pub(super) turns: Option<Arc<Semaphore>>,
    /// Over what time streams end; `None`: they do not.
    pub(super) drain: watch::Sender<Option<Duration>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache: _, access, settings, rules: _, registry, observer: _, turns: _, drain } = self;
        f.debug_struct("Service")
            .field("access", access)
            .field("settings", settings)
            .field("streams", &registry.len())
            .field("drain", &*drain.borrow())
            .finish_non_exhaustive()
    }
}

impl Service {
    /// A service over a cache. `order` lists the types that must reach a client before others when several change at
    /// once.
    #[must_use]
    pub fn new(cache: Cache, access: Arc<dyn Access>, order: &[&'static str]) -> Self {
        Self::with(cache, access, Settings { order: order.to_vec(), ..Settings::default() })
    }

    /// A service over a cache.
    #[must_use]
    pub fn with(cache: Cache, access: Arc<dyn Access>, settings: Settings) -> Self {
        Self::observed(cache, access, settings, Arc::new(Unobserved))
    }

    /// A service over a cache that tells somebody what it does.
    #[must_use]
    pub fn observed(cache: Cache, access: Arc<dyn Access>, settings: Settings, observer: Arc<dyn Observe>) -> Self {
        let named_only = settings.named_only.iter().map(|url| (*url).to_owned()).collect();
        let rules = Rules { named_only: Arc::new(named_only), ..Rules::default() };
        let (registry, drain) = (Arc::default(), watch::Sender::new(None));
        let turns = settings.first_answers.map(|most| Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))));
        Self { inner: Arc::new(Inner { cache, access, settings, rules, registry, observer, turns, drain }) }
    }

    /// The tonic server.
    #[must_use]
    pub fn server(&self) -> AggregatedDiscoveryServiceServer<Self> {
        AggregatedDiscoveryServiceServer::new(self.clone())
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The tonic server of the client status discovery service: for those whom
    /// [`Access::inspect`](super::Access::inspect) lets, what every connected client was sent and what it said to it.
    /// `clock` gives the wall time.
    #[must_use]
    pub fn status_server(&self, clock: fn() -> SystemTime) -> ClientStatusDiscoveryServiceServer<StatusService> {
        let service = StatusService::new(Arc::clone(&self.inner), clock);
        ClientStatusDiscoveryServiceServer::new(service).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// All clients with an open stream.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientStatus> {
        self.inner.registry.peers().iter().map(|peer| peer.status()).collect()
    }

    /// Goes through the resources that the client of a stream ([`ClientStatus::stream`]) holds, asks for by name, or should
    /// have, as they stand with it. `false`: there is no such stream, or it has not asked for anything yet.
    ///
    /// Costs as much as the client holds, and its stream waits meanwhile.
    pub fn visit(&self, stream: u64, visit: &mut dyn FnMut(Holding<'_>)) -> bool {
        self.inner.registry.peer(stream).is_some_and(|peer| peer.visit(visit))
    }

    /// How many streams are open. Cheaper than [`Service::clients`].
    #[must_use]
    pub fn client_count(&self) -> usize {
        self.inner.registry.len()
    }

    /// Ends all streams with UNAVAILABLE, each at a random moment within this time, so that clients do not all come to the
    /// other servers at once; nothing: all at once. New streams are refused with UNAVAILABLE from now on. What is changed
    /// meanwhile still reaches those who are connected. May be called again to be quicker; it cannot be taken back.
    pub fn drain(&self, over: Duration) {
        self.inner.drain.send_replace(Some(over));
    }

    /// Ends the streams of one client with UNAVAILABLE, so that it comes back and is admitted anew: it may see less than
    /// before, or something else. Gives their number.
    pub fn disconnect(&self, client: &str) -> usize {
        let peers = self.inner.registry.peers();
        let of_client = peers.iter().filter(|peer| peer.client == client);
        of_client.inspect(|peer| peer.end.cancel()).count()
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
        let drain = self.inner.drain.subscribe();
        if drain.borrow().is_some() {
            return Err(Status::unavailable("the server ends"));
        }
        let client = self.inner.access.admit(request.metadata(), request.extensions())?;
        tracing::info!(client, "discovery stream opened");
        let registered = self.inner.registry.open(client, self.inner.settings.streams_per_client)?;
        let open = Open::<P>::new(Arc::clone(&self.inner), registered, request.into_inner(), drain);
        let answers = futures_util::stream::unfold(open, |mut open| async move {
            let answer = open.next().await?;
            Some((answer, open))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
