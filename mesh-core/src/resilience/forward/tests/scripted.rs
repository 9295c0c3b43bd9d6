//! Clusters in memory that do what a script says.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep};

use crate::balance::{
    self, Assignment, Balancer, Circuit, Cluster, Discovery, Endpoint, LocalityEndpoints, Pick, PickError, Setup,
};
use crate::filter::{Connection, Exchange, Routed};
use crate::name::Locality;
use crate::resilience::{
    BodyError, BoxError, ForwardSettings, Forwarder, ReplayBody, ResponseBody, ResponseError, SendError, SendFailure,
    Upstream, Upstreams, Work,
};
use crate::route::{RouteConfig, RouteTable, VirtualHost};

/// A piece of a body, so long after the one before.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Data(u64, &'static str),
    Trailers(u64, &'static [(&'static str, &'static str)]),
    Break(u64),
    Hang,
}

/// A body of pieces.
pub(super) struct Pieces {
    left: VecDeque<Piece>,
    wait: Option<Pin<Box<Sleep>>>,
}

pub(super) fn pieces(list: &[Piece]) -> Pieces {
    Pieces { left: list.iter().cloned().collect(), wait: None }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let delay = match self.left.front() {
            None => return Poll::Ready(None),
            Some(Piece::Hang) => return Poll::Pending,
            Some(Piece::Data(delay, _) | Piece::Trailers(delay, _) | Piece::Break(delay)) => *delay,
        };
        if delay > 0 {
            ready!(self.wait.get_or_insert_with(|| Box::pin(sleep(millis(delay)))).as_mut().poll(cx));
            self.wait = None;
        }
        Poll::Ready(Some(match self.left.pop_front() {
            Some(Piece::Data(_, text)) => Ok(Frame::data(Bytes::from(text))),
            Some(Piece::Trailers(_, list)) => Ok(Frame::trailers(headers(list))),
            _ => Err("broken".into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }
}

pub(super) fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
    list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What an endpoint does with an attempt.
#[derive(Debug, Clone)]
pub(super) struct Act {
    pub(super) after: u64,
    /// Whether the whole body is read first.
    pub(super) reads: bool,
    pub(super) answer: Result<Says, SendFailure>,
}

/// Status, headers, body.
pub(super) type Says = (u16, &'static [(&'static str, &'static str)], Vec<Piece>);

pub(super) fn status(after: u64, status: u16) -> Act {
    Act { after, reads: true, answer: Ok((status, &[], vec![Piece::Data(0, "said")])) }
}

pub(super) fn fails(after: u64, failure: SendFailure) -> Act {
    Act { after, reads: true, answer: Err(failure) }
}

pub(super) const NEVER: u64 = 10_000_000;

/// What an endpoint saw.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) at: Duration,
    pub(super) cluster: String,
    pub(super) endpoint: u16,
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Result<String, String>>,
}

#[derive(Default)]
struct Record {
    acts: HashMap<String, VecDeque<Act>>,
    seen: Vec<Seen>,
}

#[derive(Clone)]
pub(super) struct Scene {
    record: Arc<Mutex<Record>>,
    clusters: Arc<HashMap<String, Balancer>>,
    start: tokio::time::Instant,
}

impl Scene {
    /// A scene of clusters with so many endpoints each.
    pub(super) fn new(clusters: &[(&str, u16)]) -> Self {
        let clusters = clusters.iter().map(|(name, endpoints)| {
            Cluster::new(*name, Discovery::Eds { service_name: None }).into_balancer(*endpoints)
        });
        Self::of(clusters.collect())
    }

    pub(super) fn of(clusters: Vec<(String, Balancer)>) -> Self {
        Self {
            record: Arc::default(),
            clusters: Arc::new(clusters.into_iter().collect()),
            start: tokio::time::Instant::now(),
        }
    }

    pub(super) fn acts(self, cluster: &str, acts: impl IntoIterator<Item = Act>) -> Self {
        self.record.lock().unwrap().acts.insert(cluster.to_owned(), acts.into_iter().collect());
        self
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.record.lock().unwrap().seen.clone()
    }

    pub(super) fn balancer(&self, cluster: &str) -> &Balancer {
        &self.clusters[cluster]
    }

    /// Nothing is in flight any more.
    pub(super) fn is_quiet(&self) -> bool {
        self.clusters.values().all(|balancer| {
            balancer.circuit().requests() == 0 && balancer.status().iter().all(|status| status.active == 0)
        })
    }

    pub(super) fn forwarder(&self, settings: ForwardSettings) -> Forwarder<Self> {
        let spawn = |work: Work| {
            #[allow(clippy::disallowed_methods, reason = "a test")]
            drop(tokio::spawn(work));
        };
        Forwarder::new(self.clone(), spawn, settings)
    }
}

pub(super) trait IntoBalancer: Sized {
    /// With so many endpoints of one priority.
    fn into_balancer(self, endpoints: u16) -> (String, Balancer) {
        self.with_endpoints(endpoints, |_, _| 0)
    }

    /// With three endpoints, which are changed so and have these priorities.
    fn into_balancer_of(self, priority: impl Fn(u16, &mut Endpoint) -> u32) -> (String, Balancer) {
        self.with_endpoints(3, priority)
    }

    fn with_endpoints(self, count: u16, priority: impl Fn(u16, &mut Endpoint) -> u32) -> (String, Balancer);
}

impl IntoBalancer for Cluster {
    fn with_endpoints(self, count: u16, priority: impl Fn(u16, &mut Endpoint) -> u32) -> (String, Balancer) {
        let name = self.name.to_string();
        let mut localities = BTreeMap::<u32, Vec<Endpoint>>::new();
        for at in 0..count {
            let mut endpoint = Endpoint::new(([10, 0, 0, 1], 1000 + at).into());
            endpoint.hostname = format!("e{at}.{name}").into();
            localities.entry(priority(at, &mut endpoint)).or_default().push(endpoint);
        }
        let of = |(priority, endpoints)| LocalityEndpoints {
            priority,
            ..LocalityEndpoints::new(Locality::default(), endpoints)
        };
        let assignment = Assignment::new(name.as_str(), localities.into_iter().map(of).collect());
        let now = tokio::time::Instant::now().into_std();
        let balancer = Balancer::new(Arc::new(self), &assignment, Setup { seed: 7, ..Setup::default() }, now);
        (name, balancer)
    }
}

#[derive(Clone)]
pub(super) struct At {
    scene: Scene,
    cluster: String,
}

impl<B> Upstreams<ReplayBody<B>> for Scene
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    type Upstream = At;

    fn upstream(&self, cluster: &str) -> Option<At> {
        self.clusters.contains_key(cluster).then(|| At { scene: self.clone(), cluster: cluster.to_owned() })
    }
}

impl<B> Upstream<ReplayBody<B>> for At
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    type Body = Pieces;
    type Sending = Pin<Box<dyn Future<Output = Result<Response<Pieces>, SendError>> + Send>>;

    fn pick(&self, request: &balance::Request<'_>, now: Instant) -> Result<Pick, PickError> {
        self.scene.clusters[&self.cluster].pick(request, &mut fastrand::Rng::new(), now)
    }

    fn circuit(&self, _: &Pick) -> Circuit {
        self.scene.clusters[&self.cluster].circuit()
    }

    fn send(&self, pick: &Pick, request: Request<ReplayBody<B>>) -> Self::Sending {
        let (head, body) = request.into_parts();
        let mut record = self.scene.record.lock().unwrap();
        let act = record.acts.get_mut(&self.cluster).and_then(VecDeque::pop_front).unwrap_or_else(|| status(0, 200));
        let authority = head.uri.authority().map_or("", |authority| authority.as_str());
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let index = record.seen.len();
        record.seen.push(Seen {
            at: self.scene.start.elapsed(),
            cluster: self.cluster.clone(),
            endpoint: pick.address().port() - 1000,
            target: format!("{authority}{target}"),
            headers: head.headers,
            body: None,
        });
        drop(record);
        let record = Arc::clone(&self.scene.record);
        Box::pin(async move {
            if act.reads {
                let read = body.collect().await.map_err(|error: BodyError| error.to_string());
                let text = read.map(|read| String::from_utf8(read.to_bytes().to_vec()).unwrap());
                let broken = text.is_err();
                record.lock().unwrap().seen[index].body = Some(text);
                if broken {
                    // As one does that cannot tell whose fault it was.
                    return Err(SendFailure::Closed { sent: true }.into());
                }
            }
            sleep(millis(act.after)).await;
            let (status, list, body) = act.answer.map_err(SendError::from)?;
            let mut response = Response::new(pieces(&body));
            *response.status_mut() = status.try_into().unwrap();
            *response.headers_mut() = headers(list);
            Ok(response)
        })
    }
}

/// A request whose route was chosen of this host.
pub(super) fn routed<B>(host: VirtualHost, request: Request<B>) -> Request<B> {
    let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap();
    let (mut head, body) = request.into_parts();
    let address = "192.0.2.1:4711".parse().unwrap();
    let mut exchange = Exchange::new(Arc::new(Connection::new(address, address)));
    exchange.route = match Arc::new(table).select(&exchange.request(&head), 0) {
        Ok(selection) => Routed::To(selection),
        Err(unrouted) => Routed::Nowhere(unrouted),
    };
    head.extensions.insert(exchange);
    Request::from_parts(head, body)
}

/// What a client got.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<String, ResponseError>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) exchange: Exchange,
    /// When the head came, and when all was there.
    pub(super) times: (u64, u64),
}

impl Got {
    pub(super) fn flags(&self) -> String {
        self.exchange.flags.to_string()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends a request and reads the response to its end.
pub(super) async fn ask<B>(forwarder: &Forwarder<Scene>, request: Request<B>) -> Got
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    let start = tokio::time::Instant::now();
    let took = || u64::try_from(start.elapsed().as_millis()).unwrap();
    let mut forwarder = forwarder.clone();
    let response: Result<Response<ResponseBody<Pieces>>, Infallible> =
        tower::Service::call(&mut forwarder, request).await;
    let (mut head, mut body) = response.unwrap().into_parts();
    let first = took();
    let (mut text, mut trailers, mut broken) = (Vec::new(), None, None);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) => text.extend(data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Err(error) => broken = Some(error),
        }
    }
    let text = String::from_utf8(text).unwrap();
    Got {
        status: head.status.as_u16(),
        headers: head.headers,
        body: broken.map_or(Ok(text), Err),
        trailers,
        exchange: head.extensions.remove::<Exchange>().unwrap(),
        times: (first, took()),
    }
}
