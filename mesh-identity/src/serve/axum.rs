use std::io;
use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};

use super::{Caller, Connection, Incoming};

impl Listener for Incoming {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.next().await {
            Some(connection) => {
                let address = connection.caller().address();
                (connection, address)
            }
            // The listener goes with `self`; as long as that is here, connections may come.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }
}

impl Connected<IncomingStream<'_, Incoming>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        stream.io().caller().clone()
    }
}
