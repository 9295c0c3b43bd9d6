use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use mesh_core::live::Live;
use mesh_core::name::{ServiceAccount, SpiffeId, TrustDomain};
use mesh_identity::serve;
use tower::{Layer, Service};

use super::assignments::Assignments;
use super::review::{ReviewError, ReviewToken, ServiceAccountToken};
use crate::token::Tokens;

/// The metadata in which a caller says of which cluster its token is.
const CLUSTER_ID: &str = "clusterid";

/// Who calls, as it has proved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identified {
    /// The proxy of a node.
    Node {
        /// The node.
        node: String,
        /// Its own identity, where its token says one.
        identity: Option<SpiffeId>,
    },
    /// A workload by the token of its service account.
    ServiceAccount(SpiffeId),
    /// A workload by its certificate.
    Svid(SpiffeId),
}

impl fmt::Display for Identified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { node, .. } => write!(f, "node {node}"),
            Self::ServiceAccount(id) | Self::Svid(id) => id.fmt(f),
        }
    }
}

/// Why nobody knows who calls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unidentified {
    /// It shows neither a certificate nor a token.
    #[error("neither a certificate nor a token")]
    Nothing,
    /// Its header is no bearer token.
    #[error("the authorization header holds no bearer token")]
    Header,
    /// No node has this token, and no cluster is configured by which it could be judged.
    #[error("unknown token")]
    UnknownToken,
    /// The cluster that it names has no reviewer.
    #[error("tokens of cluster `{0}` are not taken")]
    Cluster(String),
    /// Its token was judged.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// Its token is that of a node's proxy, and nothing says on which node that runs.
    #[error("the token of `{0}` is bound to no pod whose node is known")]
    Unbound(String),
    /// Its token names another node than the configuration does for its pod.
    #[error("the token says that pod `{pod}` runs on node `{said}`, it runs on node `{known}`")]
    OtherNode {
        /// The pod.
        pod: String,
        /// By the token.
        said: String,
        /// By the configuration.
        known: String,
    },
    /// Its service account cannot be an identity.
    #[error("`{0}` can be no identity")]
    Identity(String),
}

/// Tokens of the service accounts of one cluster.
#[derive(Debug)]
pub(crate) struct Reviewer {
    pub(crate) cluster: String,
    pub(crate) review: Arc<dyn ReviewToken>,
    /// Service accounts of the proxies of nodes, as `<namespace>/<name>`.
    pub(crate) node_accounts: Vec<String>,
}

/// A layer that finds out who calls. The [`Identified`] or [`Unidentified`] caller is an extension of each request; nobody is
/// refused here.
///
/// Who brings a token is judged by that, and by nothing else that it shows.
#[derive(Debug, Clone)]
pub struct Authenticate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tokens: Arc<Tokens>,
    reviewers: Vec<Reviewer>,
    trust_domain: TrustDomain,
    assignments: Live<Assignments>,
}

/// What an extension of a request holds.
pub(super) type Known = Result<Identified, Unidentified>;

impl Authenticate {
    pub(crate) fn new(
        tokens: Arc<Tokens>,
        reviewers: Vec<Reviewer>,
        trust_domain: TrustDomain,
        assignments: Live<Assignments>,
    ) -> Self {
        Self(Arc::new(Inner { tokens, reviewers, trust_domain, assignments }))
    }
}

impl Inner {
    async fn identify(&self, headers: &HeaderMap, peer: Option<SpiffeId>) -> Known {
        let Some(header) = headers.get(AUTHORIZATION) else {
            return peer.map(Identified::Svid).ok_or(Unidentified::Nothing);
        };
        let token = header.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).map(str::trim);
        let token = token.filter(|token| !token.is_empty()).ok_or(Unidentified::Header)?;
        if let Some(node) = self.tokens.node_of(token) {
            return Ok(Identified::Node { node: node.to_owned(), identity: None });
        }
        let reviewer = self.reviewer(headers)?;
        let said = reviewer.review.review(token).await?;
        self.whose(reviewer, &said)
    }

    /// Which cluster's tokens these are: of the one that is named, or of the only one.
    fn reviewer(&self, headers: &HeaderMap) -> Result<&Reviewer, Unidentified> {
        let named = headers.get(CLUSTER_ID).and_then(|name| name.to_str().ok()).filter(|name| !name.is_empty());
        match (named, &self.reviewers[..]) {
            (_, []) => Err(Unidentified::UnknownToken),
            (None, [only]) => Ok(only),
            (None, _) => Err(Unidentified::Cluster(String::new())),
            (Some(name), all) => all
                .iter()
                .find(|reviewer| reviewer.cluster == name)
                .ok_or_else(|| Unidentified::Cluster(name.to_owned())),
        }
    }

    fn whose(&self, reviewer: &Reviewer, said: &ServiceAccountToken) -> Known {
        let ServiceAccountToken { namespace, account, pod, node } = said;
        let name = format!("{namespace}/{account}");
        let identity = ServiceAccount::new(self.trust_domain.clone(), namespace, account)
            .map_err(|_| Unidentified::Identity(name.clone()))?
            .to_spiffe_id();
        if !reviewer.node_accounts.contains(&name) {
            return Ok(Identified::ServiceAccount(identity));
        }
        let pod = pod.as_ref().ok_or_else(|| Unidentified::Unbound(name.clone()))?;
        let assignments = self.assignments.load();
        let known = assignments.node_of(namespace, &pod.name);
        let node = match (node.as_ref().map(|node| node.name.as_str()), known) {
            (Some(said), Some(known)) if said != known => {
                let pod = format!("{namespace}/{}", pod.name);
                return Err(Unidentified::OtherNode { pod, said: said.to_owned(), known: known.to_owned() });
            }
            (Some(node), _) | (None, Some(node)) => node.to_owned(),
            (None, None) => return Err(Unidentified::Unbound(name)),
        };
        Ok(Identified::Node { node, identity: Some(identity) })
    }
}

impl<S> Layer<S> for Authenticate {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { inner, by: Arc::clone(&self.0) }
    }
}

/// A service behind [`Authenticate`].
#[derive(Debug, Clone)]
pub struct Authenticated<S> {
    inner: S,
    by: Arc<Inner>,
}

impl<S, B> Service<Request<B>> for Authenticated<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let by = Arc::clone(&self.by);
        // The one that is ready is used; its copy becomes so later.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let peer = request.extensions().get::<serve::Caller>().and_then(serve::Caller::peer);
            let peer = peer.map(|peer| peer.id().clone());
            let known = by.identify(request.headers(), peer).await;
            request.extensions_mut().insert::<Known>(known);
            inner.call(request).await
        })
    }
}
