use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use mesh_core::live::Live;
use mesh_core::name::parse_spiffe_id;
use mesh_core::report::chain;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::listen::Listener;
use super::peer::WorkloadAttestor;
use super::view::{Attested, caller, security_header};
use crate::bundle::BundleSet;
use crate::clock::Clock;
use crate::proto::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use crate::proto::workload::{
    JwtBundlesRequest, JwtBundlesResponse, Jwtsvid, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
};
use crate::registry::{Entries, Entry};
use crate::source::{Identities, JwtCache};
use crate::task::Tasks;
use crate::tls::Identity;
use crate::verify::{self, Audiences};

/// Most calls of one user at a time; each stream is one.
const MAX_CALLS: usize = 1_000;

/// Claims that are passed on of a token that was verified. Others mean nothing outside of their trust domain.
const CLAIMS: [&str; 5] = ["sub", "aud", "exp", "iat", "iss"];

/// What a Workload API serves from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Who may have which identity; `None` until that is known, and every caller is then told to try again.
    pub entries: Live<Option<Entries>>,
    /// The SVIDs.
    pub identities: Identities,
    /// Whom workloads may verify: their own trust domain and those that their entries federate with.
    pub bundles: Live<BundleSet>,
    /// The tokens.
    pub tokens: Arc<JwtCache>,
    /// Finds out who calls.
    pub attestor: Arc<dyn WorkloadAttestor>,
    /// Judges ends.
    pub clock: Arc<dyn Clock>,
}

/// A Workload API's server: X.509 and JWT profiles, and Envoy's secret discovery beside it.
///
/// A stream begins with the whole truth and repeats it, whole, with every change; a slow reader gets the newest state, not
/// a queue of old ones. It ends with `PERMISSION_DENIED` when the caller's last entry goes and with `UNAVAILABLE` when the
/// server does; never with OK, which some clients take for good.
#[derive(Clone)]
pub struct WorkloadApi {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) parts: Parts,
    pub(super) tasks: Tasks,
    pub(super) draining: CancellationToken,
    calls: Mutex<HashMap<u32, usize>>,
}

impl WorkloadApi {
    /// A server over its parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (tasks, draining) = (Tasks::default(), CancellationToken::new());
        Self { inner: Arc::new(Inner { parts, tasks, draining, calls: Mutex::default() }) }
    }

    /// Serves a socket until the server is drained.
    ///
    /// # Errors
    /// When the HTTP server fails.
    ///
    /// # Cancel safety
    /// Dropping the future ends all connections at once.
    pub async fn serve(&self, listener: Listener) -> Result<(), tonic::transport::Error> {
        tracing::info!(socket = %listener.path().display(), "Workload API listens");
        let draining = self.inner.draining.clone();
        tonic::transport::Server::builder()
            .add_service(SpiffeWorkloadApiServer::new(self.clone()))
            .add_service(self.secret_discovery())
            .serve_with_incoming_shutdown(listener, async move { draining.cancelled().await })
            .await
    }

    /// Tells all streams that the server goes, and ends.
    ///
    /// # Cancel safety
    /// Safe to call again.
    pub async fn drain(&self) {
        self.inner.draining.cancel();
        self.inner.tasks.wait().await;
    }

    /// Admits one more call of a user, and finds out who it is: in this order, since that costs more than to be refused.
    pub(super) async fn admit<T>(&self, request: &Request<T>) -> Result<(Attested, Admitted), Status> {
        let (caller, peer) = caller(request)?;
        let admitted = self.inner.count(peer.uid)?;
        Ok((self.inner.parts.attest(caller, peer).await?, admitted))
    }

    /// Sends what `make` gives, now and after every change that a caller can see, until it fails or nobody reads.
    pub(super) fn stream<T, M, F>(
        &self,
        caller: Attested,
        admitted: Admitted,
        make: M,
    ) -> ReceiverStream<Result<T, Status>>
    where
        T: PartialEq + Clone + Send + 'static,
        M: Fn(Arc<Inner>, Vec<Arc<Entry>>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(T, Vec<Identity>), Status>> + Send,
    {
        // One place: the next message is made when the last one was taken, from what is true then.
        let (sender, receiver) = mpsc::channel(1);
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn(async move {
            let _admitted = admitted;
            let mut sent = None;
            loop {
                let Ok(permit) = sender.reserve().await else { return };
                let watch = inner.parts.watch();
                let made = async { make(Arc::clone(&inner), inner.parts.entries(&caller)?).await };
                let identities = match inner.unless_draining(made).await {
                    Ok((message, identities)) => {
                        if sent.as_ref() == Some(&message) {
                            drop(permit);
                        } else {
                            permit.send(Ok(message.clone()));
                            sent = Some(message);
                        }
                        identities
                    }
                    Err(status) => {
                        permit.send(Err(status));
                        return;
                    }
                };
                tokio::select! {
                    () = watch.changed(&identities) => {}
                    () = sender.closed() => return,
                    () = inner.draining.cancelled() => {}
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}

/// What every stream ends with when the server does.
pub(super) fn ending() -> Status {
    Status::unavailable("the server is ending")
}

impl Inner {
    /// What a future gives, or that the server ends when it does so first.
    pub(super) async fn unless_draining<T>(
        &self,
        future: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::select! {
            biased;
            () = self.draining.cancelled() => Err(ending()),
            outcome = future => outcome,
        }
    }

    fn count(self: &Arc<Self>, uid: u32) -> Result<Admitted, Status> {
        let mut calls = self.calls.lock();
        let count = calls.entry(uid).or_default();
        if *count >= MAX_CALLS {
            return Err(Status::resource_exhausted("too many calls of this user"));
        }
        *count += 1;
        Ok(Admitted { inner: Arc::clone(self), uid })
    }
}

/// One call of a user, until it ends.
pub(super) struct Admitted {
    inner: Arc<Inner>,
    uid: u32,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut calls = self.inner.calls.lock();
        if let Some(count) = calls.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.uid);
            }
        }
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = ReceiverStream<Result<X509svidResponse, Status>>;
    type FetchX509BundlesStream = ReceiverStream<Result<X509BundlesResponse, Status>>;
    type FetchJWTBundlesStream = ReceiverStream<Result<JwtBundlesResponse, Status>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        security_header(&request)?;
        let (caller, admitted) = self.admit(&request).await?;
        Ok(Response::new(self.stream(caller, admitted, |inner, entries| async move {
            let identities = inner.parts.identities(&entries).await?;
            Ok((inner.parts.x509(&entries, &identities)?, identities))
        })))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        security_header(&request)?;
        let (caller, admitted) = self.admit(&request).await?;
        Ok(Response::new(self.stream(caller, admitted, |inner, entries| async move {
            Ok((inner.parts.x509_bundles(&entries), Vec::new()))
        })))
    }

    async fn fetch_jwtsvid(&self, request: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        security_header(&request)?;
        let JwtsvidRequest { audience, spiffe_id } = request.get_ref();
        Audiences::new(audience.iter().cloned()).map_err(|_| Status::invalid_argument("audience must be specified"))?;
        let wanted = match spiffe_id.as_str() {
            "" => None,
            text => Some(parse_spiffe_id(text).map_err(|error| Status::invalid_argument(error.to_string()))?),
        };
        let (caller, _admitted) = self.admit(&request).await?;
        let entries = self.inner.parts.entries(&caller)?;
        let mine = entries.iter().filter(|entry| wanted.as_ref().is_none_or(|wanted| entry.spiffe_id == *wanted));
        let mut svids: Vec<Jwtsvid> = Vec::new();
        for entry in mine {
            let token = self.inner.parts.tokens.token(&entry.spiffe_id, audience, entry.jwt_life).await;
            let token = token.map_err(|error| {
                tracing::warn!(identity = %entry.spiffe_id, error = chain(&error), "no token for a workload");
                Status::unavailable("the issuer cannot be reached")
            })?;
            let hint = entry.hint.clone();
            let known = !hint.is_empty() && svids.iter().any(|known| known.hint == hint);
            if !known {
                svids.push(Jwtsvid { spiffe_id: token.id().to_string(), svid: token.token().to_owned(), hint });
            }
        }
        if svids.is_empty() {
            return Err(Status::permission_denied("no identity issued"));
        }
        Ok(Response::new(JwtsvidResponse { svids }))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        security_header(&request)?;
        let (caller, admitted) = self.admit(&request).await?;
        Ok(Response::new(self.stream(caller, admitted, |inner, entries| async move {
            Ok((inner.parts.jwt_bundles(&entries), Vec::new()))
        })))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        security_header(&request)?;
        let (caller, _admitted) = self.admit(&request).await?;
        let entries = self.inner.parts.entries(&caller)?;
        let ValidateJwtsvidRequest { audience, svid } = request.get_ref();
        let refuse = |error: verify::JwtError| Status::invalid_argument(chain(&error));
        let audiences = Audiences::new([audience.as_str()]).map_err(refuse)?;
        let bundles = self.inner.parts.bundle_set(&entries);
        let verified = verify::jwt(svid, &bundles, &audiences, self.inner.parts.clock.now()).map_err(refuse)?;
        let claims = verified.claims().iter().filter(|(name, _)| CLAIMS.contains(&name.as_str()));
        let fields = claims.map(|(name, claim)| {
            // `aud` may be one value or a list; callers are spared the difference.
            let claim = if name == "aud" { verified.audience().into() } else { claim.clone() };
            (name.clone(), value(&claim))
        });
        let claims = envoy_types::pb::google::protobuf::Struct { fields: fields.collect() };
        Ok(Response::new(ValidateJwtsvidResponse { spiffe_id: verified.id().to_string(), claims: Some(claims) }))
    }
}

fn value(json: &serde_json::Value) -> envoy_types::pb::google::protobuf::Value {
    use envoy_types::pb::google::protobuf::value::Kind;
    use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Json::Object(members) => {
            let fields = members.iter().map(|(name, member)| (name.clone(), value(member))).collect();
            Kind::StructValue(Struct { fields })
        }
    };
    Value { kind: Some(kind) }
}

impl fmt::Debug for WorkloadApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadApi").field("calls", &*self.inner.calls.lock()).finish_non_exhaustive()
    }
}
