//! The smallest HTTP proxy: everything goes on to one server, in the HTTP that the client speaks or in the one that is named,
//! WebSockets and CONNECT too. Conformance suites are run against it.
#![allow(clippy::disallowed_methods, reason = "a program")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mesh_core::balance::{Assignment, Cluster, Discovery, Endpoint, HttpProtocol, LocalityEndpoints};
use mesh_core::config::{Assembly, Resources};
use mesh_core::filter::Connection;
use mesh_core::listener::{
    Codec, FilterChain, HttpManager, Listener, ListenerKind, RouteSource, SocketListener, Terminal, UpgradeSupport,
};
use mesh_core::live::Live;
use mesh_core::name::Locality;
use mesh_core::route::{Action, Forward, PathMatch, Route, RouteConfig, RouteMatch, RouteTable, VirtualHost};
use mesh_transport::l7::{Incoming, Proxy, Settings};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Proxies HTTP to one server.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens.
    listen: SocketAddr,
    /// The server.
    server: SocketAddr,
    /// What clients speak; without it, what a connection begins with.
    #[arg(long, value_enum)]
    from: Option<Version>,
    /// What the server speaks; without it, what the client does.
    #[arg(long, value_enum)]
    to: Option<Version>,
    /// Where it listens for TLS beside.
    #[arg(long, requires_all = ["certificates", "key"])]
    tls: Option<SocketAddr>,
    /// Its certificate chain (PEM).
    #[arg(long)]
    certificates: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long)]
    key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Version {
    Http1,
    Http2,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let arguments = Arguments::parse();
    let config = Live::constant(Assembly::default().assemble(&resources(&arguments)?, std::time::Instant::now()));
    let (proxy, driver) = Proxy::new(config, Settings::default());
    let driving = tokio::spawn(driver);
    if let Arguments { tls: Some(listen), certificates: Some(certificates), key: Some(key), .. } = &arguments {
        let certificates = CertificateDer::pem_file_iter(certificates)?.collect::<Result<_, _>>()?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(certificates, PrivateKeyDer::from_pem_file(key)?)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = tokio::net::TcpListener::bind(listen).await?;
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), proxy.clone()));
    }
    tokio::signal::ctrl_c().await?;
    proxy.drain(Duration::from_secs(5)).await;
    Ok(driving.await?)
}

fn resources(arguments: &Arguments) -> Result<Resources, Box<dyn Error>> {
    let mut resources = Resources::default();
    let place = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new(arguments.server)]);
    let mut cluster = Cluster::new("server", Discovery::Static(Assignment::new("server", vec![place])));
    cluster.protocol = match arguments.to {
        None => HttpProtocol::Downstream,
        Some(Version::Http1) => HttpProtocol::Http1,
        Some(Version::Http2) => HttpProtocol::Http2,
    };
    resources.clusters.insert("server".into(), Arc::new(cluster));

    let mut forward = Forward::to("server");
    // Streams last as long as they like.
    forward.timeout = Some(Duration::ZERO);
    let route = Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(forward)));
    let host = VirtualHost { domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
    let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() })?;
    let mut manager = HttpManager::new(RouteSource::Inline(Box::new(table)));
    manager.codec = match arguments.from {
        None => Codec::Auto,
        Some(Version::Http1) => Codec::Http1,
        Some(Version::Http2) => Codec::Http2,
    };
    manager.limits.connect = true;
    let upgrade = |protocol: &str| UpgradeSupport { protocol: protocol.into(), enabled: true };
    manager.upgrades = vec![upgrade("websocket"), upgrade("CONNECT")];
    let mut socket = SocketListener::new(arguments.listen);
    socket.chains = vec![FilterChain::new(Terminal::Http(Box::new(manager)))];
    let listener = Listener { name: "in".into(), kind: ListenerKind::Socket(Box::new(socket)) };
    resources.listeners.insert("in".into(), Arc::new(listener));
    Ok(resources)
}

/// Hands what is in TLS to the listener that serves it without.
async fn accept(listener: tokio::net::TcpListener, acceptor: TlsAcceptor, proxy: Proxy) -> std::io::Result<()> {
    loop {
        let (stream, source) = listener.accept().await?;
        let connection = Connection { tls: true, ..Connection::new(source, stream.local_addr()?) };
        let (acceptor, proxy) = (acceptor.clone(), proxy.clone());
        tokio::spawn(async move {
            match acceptor.accept(stream).await {
                Ok(stream) => {
                    let mut incoming = Incoming::new(Arc::new(connection));
                    incoming.alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec).map(Into::into);
                    if let Err(error) = Box::pin(proxy.serve("in", stream, incoming)).await {
                        tracing::debug!(client = %source, %error, "connection closed");
                    }
                }
                Err(error) => tracing::debug!(client = %source, %error, "no TLS"),
            }
        });
    }
}
