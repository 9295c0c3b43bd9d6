use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::authz::rbac::Verdict;
use mesh_core::filter::{Chain, Connection, FilterLayer, Named};
use mesh_core::listener::{FilterChain, HttpManager, Terminal};
use mesh_core::live::Publisher;
use mesh_core::resilience::{ForwardSettings, Forwarder, Work};
use mesh_core::route::RouteTable;
use mesh_identity::task::Tasks;
use mesh_identity::tls::Credentials;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Layer;

use super::access::AccessLog;
use super::filters::{self, Extensions};
use super::proxy::Incoming;
use super::secure::Secured;
use super::service::Entry;
use super::tcp;
use super::upstreams::ClustersAtWork;
use crate::http::{Accepted, Server};

/// What all chains of a proxy share.
pub(super) struct Shared {
    pub(super) clusters: ClustersAtWork,
    pub(super) extensions: Arc<dyn Extensions>,
    pub(super) log: Arc<dyn AccessLog>,
    pub(super) forward: ForwardSettings,
    /// What TLS is done with.
    pub(super) credentials: Credentials,
    /// Work beside connections: copies of requests, changed protocols.
    pub(super) tasks: Tasks,
}

/// A chain of filters at work.
pub(super) struct Runtime {
    pub(super) chain: FilterChain,
    kind: Kind,
    /// What secures its connections, unless they are in plaintext.
    secured: Option<Secured>,
    /// Ends when the chain is gone: its connections are drained.
    drain: CancellationToken,
}

enum Kind {
    Http(Box<Http>),
    Tcp,
    Close,
}

struct Http {
    server: Server,
    /// How long a connection that is drained may take to ask for the first time.
    patience: Duration,
    filters: Vec<Named>,
    publisher: Publisher<Chain>,
    entry: Entry,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("chain", &self.chain.name).finish_non_exhaustive()
    }
}

impl Runtime {
    /// A chain at work, with these routes if it has any.
    pub(super) fn new(
        chain: &FilterChain,
        routes: Option<&Arc<RouteTable>>,
        shared: &Arc<Shared>,
        drain: CancellationToken,
    ) -> Self {
        let kind = match &chain.terminal {
            Terminal::Http(manager) => Kind::Http(Box::new(Http::new(manager, routes, shared))),
            Terminal::Tcp(_) => Kind::Tcp,
            Terminal::Close => Kind::Close,
        };
        Self { chain: chain.clone(), kind, secured: Secured::of(chain, &shared.credentials), drain }
    }

    /// Goes on with these routes: the next requests on connections that are open use them.
    pub(super) fn update_routes(&self, routes: Option<&Arc<RouteTable>>) {
        let Kind::Http(http) = &self.kind else { return };
        let same = match (&http.publisher.live().load().routes, routes) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            (None, None) => true,
            _ => false,
        };
        if !same {
            http.publisher.publish(Chain { routes: routes.map(Arc::clone), filters: http.filters.clone() });
        }
    }

    /// Tells the connections of this chain to end.
    pub(super) fn drain(&self) {
        self.drain.cancel();
    }

    /// Serves one connection to its end, secured as the chain says. One that cannot be secured is closed.
    pub(super) async fn serve<I>(&self, io: I, incoming: Incoming, shared: &Arc<Shared>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match &self.secured {
            // Boxed, so that what is in plaintext carries nothing of it; a handshake costs more than the allocation.
            Some(secured) => Box::pin(self.serve_secured(secured, io, incoming, shared)).await,
            None => self.serve_plain(io, incoming, shared).await,
        }
    }

    async fn serve_secured<I>(&self, secured: &Secured, io: I, incoming: Incoming, shared: &Arc<Shared>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match secured.accept(io, &incoming).await {
            Ok((io, incoming)) => self.serve_plain(io, incoming, shared).await,
            Err(error) => tracing::event!(
                target: "access",
                tracing::Level::INFO,
                src.addr = %incoming.connection.source,
                dst.requested = %incoming.connection.destination,
                reason = mesh_core::report::chain(&error),
                "connection refused"
            ),
        }
    }

    /// Serves one connection to its end, of which the bytes are those of its protocol.
    async fn serve_plain<I>(&self, io: I, incoming: Incoming, shared: &Arc<Shared>)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (downstream, connection) = (incoming.downstream(), incoming.connection);
        if let Some(reason) = self.refused(&connection) {
            tracing::event!(
                target: "access",
                tracing::Level::INFO,
                src.addr = %connection.source,
                src.identity = connection.peer_uri(),
                dst.requested = %connection.destination,
                reason,
                "connection refused"
            );
            return;
        }
        match (&self.kind, &self.chain.terminal) {
            (Kind::Http(http), _) => {
                let accepted = Accepted { alpn: incoming.alpn, ..Accepted::new(downstream, Arc::clone(&connection)) };
                let (entry, drain) = (http.entry.for_connection(), CancellationToken::new());
                let asked = entry.asked.clone();
                let draining = async {
                    self.drain.cancelled().await;
                    // Whoever has just connected is about to ask: nothing is lost that was not refused.
                    let _ = tokio::time::timeout(http.patience, asked.cancelled()).await;
                    drain.cancel();
                    std::future::pending::<()>().await;
                };
                let served = tokio::select! {
                    served = http.server.serve(io, accepted, entry, drain.clone()) => served,
                    () = draining => Ok(()),
                };
                if let Err(error) = served {
                    tracing::debug!(client = %connection.source, %error, "connection ended");
                }
            }
            (Kind::Tcp, Terminal::Tcp(proxy)) => tcp::serve(io, &connection, proxy, shared, &self.drain).await,
            (Kind::Tcp | Kind::Close, _) => {}
        }
    }

    /// Why access control on connections refuses this one, if it does.
    fn refused(&self, connection: &Connection) -> Option<String> {
        let facts = connection.facts();
        self.chain.rbac.iter().find_map(|rbac| match rbac.filter.evaluate(&facts) {
            Verdict::Allowed(_) => None,
            denied @ Verdict::Denied(_) => Some(denied.to_string()),
        })
    }
}

impl Http {
    fn new(manager: &HttpManager, routes: Option<&Arc<RouteTable>>, shared: &Arc<Shared>) -> Self {
        let filters = filters::of(manager, shared);
        let (publisher, live) = Publisher::new(Chain { routes: routes.map(Arc::clone), filters: filters.clone() });
        let tasks = shared.tasks.clone();
        let spawn = move |work: Work| tasks.spawn(work);
        let settings = ForwardSettings {
            idle_timeout: manager.timeouts.stream_idle,
            stream_timeout: manager.timeouts.stream,
            ..shared.forward
        };
        let forwarder = Forwarder::new(shared.clusters.clone(), spawn, settings);
        let entry = Entry {
            chain: FilterLayer::chain(live).layer(forwarder),
            log: Arc::clone(&shared.log),
            tasks: shared.tasks.clone(),
            timeouts: manager.timeouts,
            asked: CancellationToken::new(),
        };
        let server = Server::new(manager);
        Self { server, patience: manager.timeouts.drain, filters, publisher, entry }
    }
}
