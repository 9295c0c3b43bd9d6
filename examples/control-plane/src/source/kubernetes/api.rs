//! Requests to the API server: bounded in time and size, nothing cached, nothing tried twice.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::Client;
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde_json::Value;

use super::error::Error;

/// Longest time for a connection to the API server.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest time for the answer to one request. A page of the largest size takes the API server a second or two.
const ANSWER: Duration = Duration::from_secs(60);

/// Most bytes of an answer. A page of 500 pods has some 5 MB.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Most bytes of an event. An object in etcd has 1.5 MiB at most; as JSON it may be larger.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// Which API server is spoken to, and as whom.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// A kubeconfig file. Absent, what a pod finds in its file system is used.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; absent, its current one.
    pub context: Option<String>,
}

/// An API server. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api(..)")
    }
}

impl Api {
    /// Reads how the API server is reached. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub async fn open(access: &Access) -> Result<Self, Error> {
        let wrong = |error: &(dyn std::error::Error + 'static)| Error::Config(mesh_core::report::chain(error));
        let config = match &access.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
                let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
                Config::from_custom_kubeconfig(file, &options).await.map_err(|error| wrong(&error))?
            }
            None => Config::incluster().map_err(|error| wrong(&error))?,
        };
        Self::of(config)
    }

    /// An API server in plaintext: a fake one, or `kubectl proxy`.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn plain(server: http::Uri) -> Result<Self, Error> {
        Self::of(Config::new(server))
    }

    fn of(mut config: Config) -> Result<Self, Error> {
        config.connect_timeout = Some(CONNECT);
        // Each request has a limit of its own, and so has the silence of a watch; who tries again, and when, is decided where
        // it is known what for.
        config.read_timeout = None;
        config.write_timeout = Some(ANSWER);
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| Error::Config(mesh_core::report::chain(&error)))?;
        Ok(Self { client })
    }

    /// What stands at a path, of so many bytes at most.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.exchange(Method::GET, path, None).await
    }

    /// Creates (POST), replaces (PUT) or changes (PATCH, by RFC 7396) what stands at a path. Gives what stands there then.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn write(&self, method: Method, path: &str, body: &Value) -> Result<Value, Error> {
        let answer = self.exchange(method, path, Some(body)).await?;
        serde_json::from_slice(&answer).map_err(|error| Error::Malformed(error.to_string()))
    }

    /// What happens from now on, line by line.
    ///
    /// # Errors
    /// [`Error`] when the API server does not begin to tell.
    pub(super) async fn watch(&self, path: &str) -> Result<Lines, Error> {
        let response = within(ANSWER, self.send(Method::GET, path, None)).await?;
        if response.status() != StatusCode::OK {
            return Err(within(ANSWER, refusal(response)).await.map_or_else(|error| error, |never| match never {}));
        }
        Ok(Lines { body: response.into_body(), buffer: Vec::new(), searched: 0 })
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>, Error> {
        within(ANSWER, async {
            let response = self.send(method, path, body).await?;
            if !response.status().is_success() {
                return refusal(response).await.map(|never| match never {});
            }
            read(response.into_body()).await
        })
        .await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response<Body>, Error> {
        let mut request = Request::builder().method(&method).uri(path).header(ACCEPT, "application/json");
        if body.is_some() {
            let form = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
            request = request.header(CONTENT_TYPE, form);
        }
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = request.body(Body::from(body)).map_err(|_| Error::Name(path.to_owned()))?;
        let response = self.client.send(request).await;
        response.map_err(|error| Error::Unreachable(mesh_core::report::chain(&error)))
    }
}

async fn within<T>(most: Duration, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(most, request).await.unwrap_or(Err(Error::Timeout(most)))
}

async fn refusal(response: Response<Body>) -> Result<std::convert::Infallible, Error> {
    let code = response.status();
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = read(response.into_body()).await.unwrap_or_default();
    Err(Error::refused(code, seconds.map(Duration::from_secs), &body))
}

async fn read(body: Body) -> Result<Vec<u8>, Error> {
    match Limited::new(body, MAX_ANSWER_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge(MAX_ANSWER_BYTES)),
        Err(error) => Err(Error::Unreachable(mesh_core::report::chain(&*error))),
    }
}

/// The lines of an answer that goes on.
pub(super) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// So many bytes of the buffer hold no end of a line.
    searched: usize,
}

impl Lines {
    /// The next line, or `None` at the end. What comes without an end of line before it is none.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the connection breaks, [`Error::TooLarge`].
    ///
    /// # Cancel safety
    /// Safe: what has come is kept.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_EVENT_BYTES {
                return Err(Error::TooLarge(MAX_EVENT_BYTES));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(Error::Unreachable(mesh_core::report::chain(&error))),
                None => return Ok(None),
            }
        }
    }
}
