use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mesh_core::config::{Config, Served};
use mesh_core::filter::Connection;
use mesh_core::listener::{ConnectionFacts, FilterChain, SocketListener, Terminal};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::Text;
use mesh_core::resilience::ForwardSettings;
use mesh_identity::task::Tasks;
use mesh_identity::tls::Credentials;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::AccessLog;
use super::filters::{Extensions, NoExtensions};
use super::inspect::{Ahead, inspect};
use super::listen::Sockets;
use super::runtime::{Runtime, Shared};
use super::upstreams::{ClustersAtWork, Works};
use super::{BoxError, Connect};
use crate::http::Downstream;

/// How a [`Proxy`] is made.
pub struct Settings {
    /// How endpoints are reached.
    pub connect: Arc<dyn Connect>,
    /// What filters need that is not in their configuration.
    pub extensions: Arc<dyn Extensions>,
    /// Who is told of every request.
    pub log: Arc<dyn AccessLog>,
    /// What holds for all requests, whatever their routes.
    pub forward: ForwardSettings,
    /// How listeners are bound.
    pub sockets: crate::socket::Sockets,
    /// What listeners and clusters name for TLS: secrets, and our own identity.
    pub credentials: Credentials,
}

impl Default for Settings {
    /// Endpoints are reached by TCP, requests are logged, and what needs more than its configuration refuses: filters that ask
    /// somebody, and TLS with secrets that do not stand in it.
    fn default() -> Self {
        Self {
            connect: Arc::new(super::Direct::default()),
            extensions: Arc::new(NoExtensions),
            log: Arc::new(()),
            forward: ForwardSettings::default(),
            sockets: crate::socket::Sockets::new(),
            credentials: Credentials::default(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("forward", &self.forward).finish_non_exhaustive()
    }
}

/// An L7 proxy at work. Cheap to clone.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    serving: Live<Serving>,
    effective: Live<Config>,
    /// Those that were accepted here.
    connections: Tasks,
    /// All that are served, wherever they were accepted.
    open: TaskTracker,
    drain: CancellationToken,
}

/// A connection that was accepted, and what is known of it.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Its ends.
    pub connection: Arc<Connection>,
    /// What its client's certificate says, for `x-forwarded-client-cert`.
    pub certificate: Option<Arc<crate::http::ClientCertificate>>,
    /// What TLS negotiated, if there was TLS and it did; without it, the first bytes tell.
    pub alpn: Option<Bytes>,
}

impl Incoming {
    /// A connection of which only the ends are known.
    #[must_use]
    pub fn new(connection: Arc<Connection>) -> Self {
        Self { connection, certificate: None, alpn: None }
    }

    pub(super) fn downstream(&self) -> Downstream {
        let Connection { source, destination, tls, .. } = &*self.connection;
        Downstream {
            is_secure: *tls,
            certificate: self.certificate.clone(),
            ..Downstream::new(source.ip(), destination.port())
        }
    }
}

/// What is served, by the name of the listener.
pub(super) type Serving = BTreeMap<Text, Arc<Listening>>;

/// A listener at work.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) served: Arc<Served>,
    /// One per chain, the default one last.
    runtimes: Vec<Arc<Runtime>>,
}

impl Proxy {
    /// A proxy that serves what `config` says from time to time, and what drives it: it serves as long as that runs.
    pub fn new(config: Live<Config>, settings: Settings) -> (Self, impl Future<Output = ()> + Send) {
        let tasks = Tasks::default();
        let Settings { connect, extensions, log, forward, sockets, credentials } = settings;
        let (works, clusters) = Works::new(connect, credentials.clone(), tasks.clone());
        let shared = Shared { clusters, extensions, log, forward, credentials, tasks };
        let (publisher, serving) = Publisher::new(Serving::new());
        let (taken, effective) = Publisher::new(Config::default());
        let proxy = Self {
            shared: Arc::new(shared),
            serving,
            effective,
            connections: Tasks::default(),
            open: TaskTracker::new(),
            drain: CancellationToken::new(),
        };
        let driver = Driver { proxy: proxy.clone(), publisher, taken, works, sockets: Sockets::new(sockets) };
        (proxy, driver.run(config))
    }

    /// The clusters, with their connections.
    #[must_use]
    pub fn clusters(&self) -> &ClustersAtWork {
        &self.shared.clusters
    }

    /// The listeners that are served, by name.
    #[must_use]
    pub fn listeners(&self) -> BTreeMap<Text, Arc<Served>> {
        self.serving.load().iter().map(|(name, listening)| (name.clone(), Arc::clone(&listening.served))).collect()
    }

    /// The configuration that has taken effect: a connection that is handed in now is served by it.
    #[must_use]
    pub fn effective(&self) -> &Live<Config> {
        &self.effective
    }

    /// How many connections are served.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Serves a connection to its end, as the chain of a listener says that is for it.
    ///
    /// # Errors
    /// There is no such listener, or no chain of it is for this connection; it is closed.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn serve<I>(&self, listener: &str, io: I, incoming: Incoming) -> Result<(), BoxError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let listening = self.serving.load().get(listener).map(Arc::clone);
        let listening = listening.ok_or_else(|| format!("there is no listener `{listener}`"))?;
        let _open = self.open.token();
        listening.serve(io, incoming, &self.shared).await
    }

    /// Serves a connection to its end by the chain of a listener that has this name.
    ///
    /// # Errors
    /// There is no such listener, or no such chain; the connection is closed.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn serve_chain<I>(&self, listener: &str, chain: &str, io: I, incoming: Incoming) -> Result<(), BoxError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let listening = self.serving.load().get(listener).map(Arc::clone);
        let listening = listening.ok_or_else(|| format!("there is no listener `{listener}`"))?;
        let mut runtimes = listening.runtimes.iter();
        let runtime = runtimes.find(|runtime| runtime.chain.name.as_str() == chain);
        let runtime = runtime.ok_or_else(|| format!("listener `{listener}` has no chain `{chain}`"))?;
        let _open = self.open.token();
        runtime.serve(io, incoming, &self.shared).await;
        Ok(())
    }

    /// Drains: nothing new is accepted, clients are told to send no more, and what is under way may end until `deadline`.
    ///
    /// # Cancel safety
    /// Safe; the drain has begun.
    pub async fn drain(&self, deadline: Duration) {
        self.drain.cancel();
        self.open.close();
        let _ = tokio::time::timeout(deadline, self.open.wait()).await;
        self.connections.stop().await;
        self.shared.tasks.stop().await;
    }

    pub(super) fn drained(&self) -> &CancellationToken {
        &self.drain
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.connections.spawn(work);
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("listeners", &self.listeners().keys()).finish_non_exhaustive()
    }
}

impl Listening {
    async fn serve<I>(&self, mut io: I, incoming: Incoming, shared: &Arc<Shared>) -> Result<(), BoxError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let socket = self.served.listener.socket().ok_or("a listener of clients accepts no connections")?;
        let inspected = inspect(socket, incoming.connection.destination, &mut io).await;
        let (found, ahead) = inspected.ok_or("the connection does not say what it is")?;
        let connection = &incoming.connection;
        let protocols: Vec<&str> = found.protocols.iter().map(String::as_str).collect();
        let facts = ConnectionFacts {
            direct_source: connection.direct_remote.ip(),
            server_name: found.server_name.as_deref().or_else(|| connection.server_name.as_ref().map(Text::as_str)),
            transport_protocol: found.transport_protocol(),
            application_protocols: &protocols,
            ..ConnectionFacts::new(connection.source, connection.destination)
        };
        let chain = socket.choose_chain(&facts).ok_or("no filter chain is for the connection")?;
        let at = chains(socket).position(|one| std::ptr::eq(one, chain)).unwrap_or_default();
        let runtime = self.runtimes.get(at).ok_or("the filter chain is not at work")?;
        match ahead.is_empty() {
            true => runtime.serve(io, incoming, shared).await,
            false => runtime.serve(Ahead::new(ahead, io), incoming, shared).await,
        }
        Ok(())
    }
}

fn chains(socket: &SocketListener) -> impl Iterator<Item = &FilterChain> {
    socket.chains.iter().chain(&socket.default_chain)
}

/// Follows the configuration.
struct Driver {
    proxy: Proxy,
    publisher: Publisher<Serving>,
    /// What has taken effect.
    taken: Publisher<Config>,
    works: Works,
    sockets: Sockets,
}

impl Driver {
    async fn run(mut self, config: Live<Config>) {
        let mut changes = config.changes();
        loop {
            self.apply(&changes.current());
            tokio::select! {
                biased;
                () = self.proxy.drain.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
            }
        }
        // What serves goes on until it is drained.
        self.proxy.drain.cancelled().await;
        for listening in self.publisher.live().snapshot().values() {
            listening.runtimes.iter().for_each(|runtime| runtime.drain());
        }
    }

    fn apply(&mut self, config: &Config) {
        self.works.update(&config.clusters);
        let before = self.publisher.live().snapshot();
        let mut serving = Serving::new();
        for (name, served) in &config.listeners {
            let known = before.get(name);
            let same = known.filter(|known| Arc::ptr_eq(&known.served, served));
            let listening = same.map_or_else(|| self.listening(served, known), Arc::clone);
            serving.insert(name.clone(), listening);
        }
        self.publisher.publish(serving.clone());
        // New sockets before old connections are told to go.
        self.sockets.update(&serving, &self.proxy);
        for listening in before.values() {
            let still = |runtime: &Arc<Runtime>| {
                serving.values().flat_map(|listening| &listening.runtimes).any(|other| Arc::ptr_eq(other, runtime))
            };
            listening.runtimes.iter().filter(|runtime| !still(runtime)).for_each(|runtime| runtime.drain());
        }
        self.taken.publish(config.clone());
    }

    /// A listener at work. Chains that are as they were keep their connections and whatever their filters know.
    fn listening(&self, served: &Arc<Served>, known: Option<&Arc<Listening>>) -> Arc<Listening> {
        let mut kept: Vec<&Arc<Runtime>> = known.into_iter().flat_map(|known| &known.runtimes).collect();
        let mut tables = served.managers().map(|(_, table)| table);
        let of_socket = served.listener.socket().into_iter().flat_map(chains);
        let runtimes = of_socket.map(|chain| {
            let table = match &chain.terminal {
                Terminal::Http(_) => tables.next(),
                Terminal::Tcp(_) | Terminal::Close => None,
            };
            match kept.iter().position(|runtime| runtime.chain == *chain) {
                Some(at) => {
                    let runtime = Arc::clone(kept.swap_remove(at));
                    runtime.update_routes(table.as_ref());
                    runtime
                }
                None => {
                    let drain = self.proxy.drain.child_token();
                    Arc::new(Runtime::new(chain, table.as_ref(), &self.proxy.shared, drain))
                }
            }
        });
        Arc::new(Listening { served: Arc::clone(served), runtimes: runtimes.collect() })
    }
}
