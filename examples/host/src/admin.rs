//! The admin endpoint: readiness, metrics, configuration dump, log level, shutdown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::ready::Ready;
use crate::telemetry::LogLevel;

/// Gives what the process believes, as JSON.
pub type Dump = Arc<dyn Fn() -> Value + Send + Sync>;

/// Gives the answer to a question, whose parameters are those of the URL.
pub type Page = Arc<dyn Fn(&BTreeMap<String, String>) -> Value + Send + Sync>;

/// A page that asks nothing.
#[must_use]
pub fn page(dump: Dump) -> Page {
    Arc::new(move |_| dump())
}

/// What the admin endpoint shows and steers.
#[derive(Clone)]
pub struct Admin {
    /// Readiness.
    pub ready: Ready,
    /// Metrics.
    pub metrics: Arc<Registry>,
    /// The log's filter.
    pub log: LogLevel,
    /// What `/config_dump` shows.
    pub dump: Dump,
    /// Cancelled by `/quitquitquit`.
    pub quit: CancellationToken,
    /// Further pages: path, what it is for, content.
    pub pages: Arc<[(&'static str, &'static str, Page)]>,
    /// Called before metrics are read: for figures that are kept elsewhere until then.
    pub before_metrics: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("ready", &self.ready).field("log", &self.log).finish_non_exhaustive()
    }
}

/// A running admin endpoint.
#[derive(Debug)]
pub struct Bound {
    listener: tokio::net::TcpListener,
    router: Router,
}

impl Admin {
    /// Binds the endpoint. Bind it to loopback: whoever reaches it can read everything and end the process.
    ///
    /// # Errors
    /// The address is in use.
    pub async fn bind(self, address: SocketAddr) -> std::io::Result<Bound> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        Ok(Bound { listener, router: self.router() })
    }

    /// Binds an endpoint that shows metrics and nothing else: for scrapers outside.
    ///
    /// # Errors
    /// The address is in use.
    pub async fn bind_metrics(&self, address: SocketAddr) -> std::io::Result<Bound> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let router = Router::new().route("/metrics", get(metrics)).route("/stats/prometheus", get(metrics));
        Ok(Bound { listener, router: router.with_state(self.clone()) })
    }

    /// Binds an endpoint that tells readiness and nothing else: for a kubelet.
    ///
    /// # Errors
    /// The address is in use.
    pub async fn bind_readiness(&self, address: SocketAddr) -> std::io::Result<Bound> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let router = Router::new().route("/healthz/ready", get(ready));
        Ok(Bound { listener, router: router.with_state(self.clone()) })
    }

    fn router(self) -> Router {
        let mut router = Router::new()
            .route("/", get(index))
            .route("/healthz/live", get(|| async { "live\n" }))
            .route("/healthz/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/stats/prometheus", get(metrics))
            .route("/config_dump", get(|State(admin): State<Self>| async move { json(&(admin.dump)()) }))
            .route("/logging", get(log_level).put(set_log_level).post(set_log_level))
            .route("/quitquitquit", post(quit))
            .fallback(|State(admin): State<Self>| async move { (StatusCode::NOT_FOUND, list(&admin)) });
        for (path, _, page) in self.pages.iter() {
            let page = Arc::clone(page);
            router = router.route(
                path,
                get(move |Query(asked): Query<BTreeMap<String, String>>| async move { json(&page(&asked)) }),
            );
        }
        router.with_state(self)
    }
}

impl Bound {
    /// Serves until dropped.
    ///
    /// # Cancel safety
    /// Dropping the future ends the endpoint.
    pub async fn serve(self) {
        if let Err(error) = axum::serve(self.listener, self.router).await {
            tracing::error!(%error, "the admin endpoint ended");
        }
    }
}

async fn index(State(admin): State<Admin>) -> String {
    list(&admin)
}

fn list(admin: &Admin) -> String {
    let mut text = String::from(
        "GET  /healthz/live    the process answers\n\
         GET  /healthz/ready   it serves, or what it waits for\n\
         GET  /metrics         Prometheus\n\
         GET  /config_dump     what it believes, as JSON\n\
         GET  /logging         the log filter in force\n\
         PUT  /logging?level=  another one, such as debug or info,mesh_xds=trace\n\
         POST /quitquitquit    drain and end\n",
    );
    for (path, purpose, _) in admin.pages.iter() {
        text.push_str(&format!("GET  {path:<16} {purpose}\n"));
    }
    text
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, String) {
    let missing = admin.ready.missing();
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", missing.join(", ")))
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    (admin.before_metrics)();
    let mut text = String::new();
    let status = match prometheus_client::encoding::text::encode(&mut text, &admin.metrics) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

#[derive(Debug, Deserialize)]
struct Level {
    level: String,
}

async fn log_level(State(admin): State<Admin>) -> String {
    format!("{}\n", admin.log.current())
}

async fn set_log_level(State(admin): State<Admin>, Query(level): Query<Level>) -> (StatusCode, String) {
    match admin.log.set(&level.level) {
        Ok(()) => (StatusCode::OK, format!("{}\n", admin.log.current())),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

async fn quit(State(admin): State<Admin>) -> &'static str {
    admin.quit.cancel();
    "draining\n"
}

fn json(value: &Value) -> impl IntoResponse + use<> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text + "\n")
}
