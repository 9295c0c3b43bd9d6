use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mesh_core::balance::{Circuit, CircuitGuard, ConnectionGuard};
use mesh_core::route::Priority;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tower::ServiceExt;

use crate::hbone::HboneStream;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connection that HTTP can be spoken on.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What TLS negotiated, if there is TLS and it did.
    fn alpn(&self) -> Option<&[u8]> {
        None
    }
}

impl Transport for TcpStream {}

impl Transport for HboneStream {}

impl Transport for DuplexStream {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for tokio_rustls::client::TlsStream<T> {
    fn alpn(&self) -> Option<&[u8]> {
        self.get_ref().1.alpn_protocol()
    }
}

impl Transport for Box<dyn Transport> {
    fn alpn(&self) -> Option<&[u8]> {
        (**self).alpn()
    }
}

pub(super) type Dialled = Pin<Box<dyn Future<Output = Result<Box<dyn Transport>, BoxError>> + Send>>;

/// A connector, whatever its type.
pub(super) trait Dial<T>: Send + Sync {
    fn dial(&self, target: T) -> Dialled;
}

struct Connector<C>(C);

pub(super) fn boxed<T, C>(connector: C) -> Arc<dyn Dial<T>>
where
    T: Send + 'static,
    C: tower::Service<T> + Clone + Send + Sync + 'static,
    C::Response: Transport,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    Arc::new(Connector(connector))
}

impl<T, C> Dial<T> for Connector<C>
where
    T: Send + 'static,
    C: tower::Service<T> + Clone + Send + Sync + 'static,
    C::Response: Transport,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    fn dial(&self, target: T) -> Dialled {
        let connector = self.0.clone();
        Box::pin(async move {
            let io = connector.oneshot(target).await.map_err(Into::into)?;
            Ok(Box::new(io) as Box<dyn Transport>)
        })
    }
}

/// A connection that is counted until it is closed, whoever holds it last.
pub(super) struct Counted {
    pub(super) io: Box<dyn Transport>,
    /// `None` for the one connection that an endpoint may have in any case.
    pub(super) _guard: Option<Admitted>,
}

/// A connection that was admitted; it counts until this is dropped.
pub(super) enum Admitted {
    /// By the limits of the cluster.
    ByCircuit { _guard: CircuitGuard },
    /// By those of the cluster and of the endpoint.
    ByBalancer { _guard: ConnectionGuard },
}

/// Admits connections to targets, by the limits of their cluster and their own.
pub(super) type Admit<T> = Arc<dyn Fn(&T, Priority) -> Option<ConnectionGuard> + Send + Sync>;

/// Admits another connection to one target, beside so many that a pool has.
pub(super) type Admitting = Box<dyn Fn(Priority, usize) -> Option<Admitted> + Send + Sync>;

pub(super) fn by_balancer<T: Send + Sync + 'static>(admit: Admit<T>, target: T) -> Admitting {
    Box::new(move |priority, _| admit(&target, priority).map(|guard| Admitted::ByBalancer { _guard: guard }))
}

pub(super) fn by_circuit(circuit: Circuit) -> Admitting {
    Box::new(move |priority, connections| {
        let limit = circuit.settings().max_connections_per_endpoint;
        let fits = limit.is_none_or(|limit| connections < limit as usize);
        let guard = fits.then(|| circuit.try_connection(priority)).flatten();
        guard.map(|guard| Admitted::ByCircuit { _guard: guard })
    })
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
