//! Requests over connections that are kept.

mod dial;
mod error;
mod http1;
mod http2;
mod lease;
mod pool;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use mesh_core::balance::{Circuit, Cluster, ConnectionGuard, HttpProtocol};
use mesh_core::route::Priority;
use mesh_identity::task::Tasks;
use parking_lot::Mutex;

pub use self::dial::Transport;
use self::dial::{Admit, BoxError, Dial, boxed, by_balancer, by_circuit};
pub use self::error::{Failed, Overflow, SendError};
use self::lease::Lease;
use self::pool::Pool;
use super::body::Body;
use super::limits::UPSTREAM_STREAMS;

/// Sends requests to the endpoints of one cluster, over connections that it opens, keeps and shares within the limits of
/// a [`Circuit`]. Cheap to clone.
///
/// A target is whatever the connector needs to know: an address, whom to expect there, by which tunnel. Targets that are
/// equal share connections.
///
/// ```
/// use http::Request;
/// use mesh_core::balance::{Circuit, CircuitSettings};
/// use mesh_core::route::Priority;
/// use mesh_identity::task::Tasks;
/// use mesh_transport::http::{Body, Client, ClientSettings};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // An endpoint that answers whatever it is asked.
/// async fn endpoint(mut io: DuplexStream) {
///     let mut bytes = [0; 1024];
///     while io.read(&mut bytes).await.is_ok_and(|count| count > 0) {
///         let _ = io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
///     }
/// }
///
/// let tasks = Tasks::default();
/// let spawner = tasks.clone();
/// let connector = tower::service_fn(move |_target: &'static str| {
///     let (near, far) = tokio::io::duplex(1024);
///     spawner.spawn(endpoint(far));
///     async move { Ok::<_, std::io::Error>(near) }
/// });
/// let circuit = Circuit::new(CircuitSettings::default());
/// let client = Client::new(connector, ClientSettings::default(), circuit, tasks);
/// for _ in 0..2 {
///     let request = Request::get("/").header("host", "a.example").body(Body::empty())?;
///     let response = client.send(&"a", Priority::Default, request).await?;
///     assert_eq!(response.status(), 200);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Client<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    dial: Arc<dyn Dial<T>>,
    settings: ClientSettings,
    circuit: Circuit,
    /// Who admits connections; `None` if the circuit does.
    admit: Option<Admit<T>>,
    tasks: Tasks,
    pools: Mutex<HashMap<(T, HttpProtocol), Arc<Pool>>>,
}

/// How connections are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSettings {
    /// What is spoken. Default HTTP/1.1.
    pub protocol: HttpProtocol,
    /// Who counts the requests in flight. Default: whoever chose the endpoint.
    pub counting: Counting,
    /// How long a new connection may take, with its handshakes. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a connection without requests is kept; `None` for as long as the endpoint likes. Default one hour.
    pub idle_timeout: Option<Duration>,
    /// How many requests a connection serves; `None` for no limit.
    pub max_requests_per_connection: Option<NonZeroU32>,
    /// How many requests a connection of HTTP/2 serves at a time, if the endpoint allows as many. Default 1,024.
    pub concurrent_streams: usize,
    /// Window of a stream of HTTP/2 at its beginning, in bytes; `None` for the implementation's choice.
    pub stream_window_bytes: Option<u32>,
    /// Window of a connection of HTTP/2 at its beginning, in bytes; `None` for the implementation's choice.
    pub connection_window_bytes: Option<u32>,
}

/// Who counts the requests in flight to the limit of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counting {
    /// The client.
    Here,
    /// Whoever calls it: a balancer counts a request when it chooses the endpoint.
    ByCaller,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            protocol: HttpProtocol::Http1,
            counting: Counting::ByCaller,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_secs(3600)),
            max_requests_per_connection: None,
            concurrent_streams: UPSTREAM_STREAMS,
            stream_window_bytes: None,
            connection_window_bytes: None,
        }
    }
}

impl ClientSettings {
    /// What a cluster says, and the defaults.
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Self {
            protocol: cluster.protocol,
            connect_timeout: cluster.connect_timeout,
            max_requests_per_connection: cluster.max_requests_per_connection,
            ..Self::default()
        }
    }
}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> Client<T> {
    /// A client without connections. `connector` makes them; `tasks` is where they live.
    pub fn new<C>(connector: C, settings: ClientSettings, circuit: Circuit, tasks: Tasks) -> Self
    where
        C: tower::Service<T> + Clone + Send + Sync + 'static,
        C::Response: Transport,
        C::Error: Into<BoxError>,
        C::Future: Send,
    {
        Self::with(connector, settings, circuit, None, tasks)
    }

    /// As [`Client::new`], for the endpoints of a balancer: connections are admitted by `admit`, such as
    /// [`Balancer::try_connection`], which counts them to the limits of the cluster and of each endpoint. `circuit` counts
    /// what waits.
    ///
    /// [`Balancer::try_connection`]: mesh_core::balance::Balancer::try_connection
    pub fn admitted<C, A>(connector: C, settings: ClientSettings, circuit: Circuit, admit: A, tasks: Tasks) -> Self
    where
        C: tower::Service<T> + Clone + Send + Sync + 'static,
        C::Response: Transport,
        C::Error: Into<BoxError>,
        C::Future: Send,
        A: Fn(&T, Priority) -> Option<ConnectionGuard> + Send + Sync + 'static,
    {
        Self::with(connector, settings, circuit, Some(Arc::new(admit)), tasks)
    }

    fn with<C>(connector: C, settings: ClientSettings, circuit: Circuit, admit: Option<Admit<T>>, tasks: Tasks) -> Self
    where
        C: tower::Service<T> + Clone + Send + Sync + 'static,
        C::Response: Transport,
        C::Error: Into<BoxError>,
        C::Future: Send,
    {
        let pools = Mutex::new(HashMap::new());
        Self { shared: Arc::new(Shared { dial: boxed(connector), settings, circuit, admit, tasks, pools }) }
    }

    /// Sends a request, in the form that a [`Server`](super::Server) gives it to its service, and waits for the head of the response.
    ///
    /// A response that changes protocols has an [`OnUpgrade`](super::upgrade::OnUpgrade) in its extensions.
    ///
    /// A kept connection that turns out to be closed before anything was sent is replaced by another.
    ///
    /// # Errors
    /// There is no response; [`Failed::request`] gives the request back if nothing of it was sent.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up: its stream is reset, its connection of HTTP/1.1 closed.
    pub async fn send(
        &self,
        target: &T,
        priority: Priority,
        request: Request<Body>,
    ) -> Result<Response<Body>, Box<Failed>> {
        let shared = &self.shared;
        let protocol = match (shared.settings.protocol, request.version()) {
            (HttpProtocol::Downstream, Version::HTTP_2) => HttpProtocol::Http2,
            (HttpProtocol::Downstream, _) => HttpProtocol::Http1,
            (protocol, _) => protocol,
        };
        let pool = shared.pool(target, protocol);
        let mut request = request;
        loop {
            let (lease, counted) = match pool.lease(priority).await {
                Ok(lease) => lease,
                Err(error) => return Err(Box::new(Failed { error, request: Some(request) })),
            };
            let reused = lease.is_reused();
            let sent = match lease {
                Lease::Http1(lease) => http1::send(lease, counted, request).await,
                Lease::Http2(lease) => http2::send(lease, counted, request, &shared.tasks).await,
            };
            match sent {
                Err(Failed { request: Some(unsent), .. }) if reused => request = unsent,
                Err(failed) => return Err(Box::new(failed)),
                Ok(response) => return Ok(response),
            }
        }
    }

    /// Lets go of the connections to targets that are not wanted any more. Requests under way are not disturbed.
    pub fn retain(&self, mut wanted: impl FnMut(&T) -> bool) {
        let mut gone = Vec::new();
        self.shared.pools.lock().retain(|(target, _), pool| {
            let keep = wanted(target);
            if !keep {
                gone.push(Arc::clone(pool));
            }
            keep
        });
        for pool in gone {
            pool.retire();
        }
    }

    /// How many connections there are, and how many are being opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.pools.lock().values().map(|pool| pool.connections()).sum()
    }
}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> Shared<T> {
    fn pool(&self, target: &T, protocol: HttpProtocol) -> Arc<Pool> {
        let mut pools = self.pools.lock();
        // Looked for without a copy of the target first would need a key of two borrowed parts; a target is cheap to copy.
        let pool = pools.entry((target.clone(), protocol)).or_insert_with(|| {
            let (dial, to) = (Arc::clone(&self.dial), target.clone());
            let dial = Box::new(move || dial.dial(to.clone()));
            let admit = match &self.admit {
                Some(admit) => by_balancer(Arc::clone(admit), target.clone()),
                None => by_circuit(self.circuit.clone()),
            };
            Pool::new(dial, protocol, self.settings, self.circuit.clone(), admit, self.tasks.clone())
        });
        Arc::clone(pool)
    }
}

impl<T> Clone for Client<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Client<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        for pool in self.pools.get_mut().values() {
            pool.retire();
        }
    }
}
