//! The servers of the demo: ordinary programs that know nothing of a mesh.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use clap::{Parser, ValueEnum};
use hyper::body::Bytes;
use tokio::net::TcpListener;

use crate::Error;

/// A server of the demo.
#[derive(Debug, Parser)]
#[command(name = "workload")]
struct Arguments {
    /// What it speaks.
    kind: Kind,
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// What it calls itself.
    #[arg(long)]
    name: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// HTTP/1.1.
    Http,
    /// gRPC: the standard health service.
    Grpc,
}

/// Runs a server until it is killed.
pub(crate) fn main_with_args(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = Arguments::parse_from(arguments);
    let served = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(serve(arguments)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the workload ended: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), Error> {
    match arguments.kind {
        Kind::Http => {
            let listener = TcpListener::bind(arguments.listen).await?;
            let greeting = format!("hello from {}", arguments.name);
            let router = Router::new().route("/", get(move || async move { greeting })).route("/ticks", get(ticks));
            axum::serve(listener, router).await?;
        }
        Kind::Grpc => {
            let (reporter, health) = tonic_health::server::health_reporter();
            reporter.set_service_status(arguments.name, tonic_health::ServingStatus::Serving).await;
            tonic::transport::Server::builder().add_service(health).serve(arguments.listen).await?;
        }
    }
    Ok(())
}

/// A response that never ends: one tick every 20 ms.
async fn ticks() -> Body {
    let ticks = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b"tick\n")), ()))
    });
    Body::from_stream(ticks)
}
