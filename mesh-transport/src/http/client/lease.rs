use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use hyper::client::conn::http1;

use super::pool::Pool;
use crate::http::body::Body;

/// The right to send one request on a connection. When it is dropped, the connection is free for another.
pub(super) enum Lease {
    Http1(Http1Lease),
    Http2(Http2Lease),
}

impl Lease {
    /// Whether the connection has served others, and so may have been closed by the endpoint meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(lease) => lease.connection.as_ref().is_some_and(|connection| connection.served > 1),
            Self::Http2(lease) => lease.is_reused,
        }
    }
}

/// A connection of HTTP/1.1, which is nobody else's meanwhile.
pub(super) struct Http1Connection {
    pub(super) id: u64,
    pub(super) sender: http1::SendRequest<Body>,
    /// With the request that it is leased for.
    pub(super) served: u32,
}

pub(super) struct Http1Lease {
    pub(super) pool: Arc<Pool>,
    pub(super) connection: Option<Http1Connection>,
}

impl Drop for Http1Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.free_http1(connection);
        }
    }
}

/// A share of a connection of HTTP/2.
pub(super) struct Http2Lease {
    /// `None` when it was given back already.
    pub(super) pool: Option<Arc<Pool>>,
    pub(super) id: u64,
    pub(super) sender: SendRequest<Bytes>,
    pub(super) is_reused: bool,
}

impl Drop for Http2Lease {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.free_http2(self.id);
        }
    }
}
