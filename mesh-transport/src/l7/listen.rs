use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::filter::Connection;
use mesh_core::name::Text;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Proxy;
use super::proxy::{Incoming, Serving};
use crate::socket::{self, Listener};

/// The sockets of listeners that bind.
pub(super) struct Sockets {
    sockets: socket::Sockets,
    bound: BTreeMap<(Text, SocketAddr), DropGuard>,
}

impl Sockets {
    pub(super) fn new(sockets: socket::Sockets) -> Self {
        Self { sockets, bound: BTreeMap::new() }
    }

    /// Binds what is new, and lets go of what is gone. An address that cannot be bound is told and tried again with the next
    /// change.
    pub(super) fn update(&mut self, serving: &Serving, proxy: &Proxy) {
        let sockets = serving.iter().filter_map(|(name, listening)| Some((name, listening.served.listener.socket()?)));
        let binding = sockets.filter(|(_, socket)| socket.bind_to_port);
        let wanted: Vec<(Text, SocketAddr)> = binding
            .flat_map(|(name, socket)| socket.addresses.iter().map(|address| (name.clone(), *address)))
            .collect();
        self.bound.retain(|key, _| wanted.contains(key));
        for (name, address) in wanted {
            if self.bound.contains_key(&(name.clone(), address)) {
                continue;
            }
            match self.sockets.listen(address) {
                Ok(listener) => {
                    tracing::info!(listener = %name, %address, "listener bound");
                    let ended = CancellationToken::new();
                    proxy.spawn(accept(listener, name.clone(), proxy.clone(), ended.clone()));
                    self.bound.insert((name, address), ended.drop_guard());
                }
                Err(error) => tracing::error!(listener = %name, %address, %error, "listener cannot be bound"),
            }
        }
    }
}

async fn accept(listener: Listener, name: Text, proxy: Proxy, ended: CancellationToken) {
    loop {
        let (stream, source) = tokio::select! {
            biased;
            () = ended.cancelled() => return,
            () = proxy.drained().cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok(destination) = stream.local_addr() else { continue };
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let connection = Arc::new(Connection::new(canonical(source), canonical(destination)));
        let (serving, name) = (proxy.clone(), name.clone());
        proxy.spawn(async move {
            if let Err(error) = serving.serve(name.as_str(), stream, Incoming::new(connection)).await {
                tracing::debug!(client = %source, %error, "connection closed");
            }
        });
    }
}
