//! An API server as far as clients see it: lists in pages, watches, versions, statuses, Leases; and whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use mesh_control_plane::source::kubernetes::Api;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

type Chunk = Result<Bytes, std::io::Error>;

/// A collection as it stands in paths: `/api/v1/services`.
type Collection = String;

/// Something that comes between a read and a write.
type Meddle = Box<dyn FnMut(&mut Inner, &str) + Send>;

#[derive(Default)]
struct State {
    version: u64,
    /// Versions before this one are forgotten.
    oldest: u64,
    objects: BTreeMap<Collection, BTreeMap<(String, String), Value>>,
    events: Vec<(u64, Collection, String)>,
    watches: Vec<(Collection, mpsc::Sender<Chunk>)>,
    installed: BTreeSet<Collection>,
    requests: Vec<String>,
    /// What the next requests are answered whose path and query contain a text, so many of them.
    answers: Vec<(String, usize, StatusCode, String)>,
    /// Nobody answers.
    is_down: bool,
    /// Called with the path of a write before it happens.
    before_write: Option<Meddle>,
}

type Inner = BTreeMap<Collection, BTreeMap<(String, String), Value>>;

#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    address: std::net::SocketAddr,
}

pub(crate) const CORE: [&str; 7] = [
    "/api/v1/namespaces",
    "/api/v1/nodes",
    "/api/v1/services",
    "/api/v1/serviceaccounts",
    "/api/v1/pods",
    "/api/v1/configmaps",
    "/api/v1/secrets",
];
pub(crate) const SERVICES: &str = "/api/v1/services";
pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
pub(crate) const POLICIES: &str = "/apis/security.istio.io/v1/authorizationpolicies";
pub(crate) const PEERS: &str = "/apis/security.istio.io/v1/peerauthentications";
pub(crate) const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/httproutes";
pub(crate) const GATEWAYS: &str = "/apis/gateway.networking.k8s.io/v1/gateways";
pub(crate) const LEASES: &str = "/apis/coordination.k8s.io/v1/leases";

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { version: 100, ..State::default() }));
        let fake = Self { state, address };
        for collection in
            CORE.iter().chain(&["/apis/discovery.k8s.io/v1/endpointslices", POLICIES, PEERS, ROUTES, LEASES])
        {
            fake.install(collection);
        }
        let app = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        fake
    }

    pub(crate) fn api(&self) -> Api {
        Api::plain(format!("http://{}", self.address).parse().unwrap()).unwrap()
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self) -> String {
        let server = format!("http://{}", self.address);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "none",
            "clusters": [{"name": "here", "cluster": {"server": server}}],
            "users": [{"name": "me", "user": {"token": "t"}}],
            "contexts": [{"name": "there", "context": {"cluster": "here", "user": "me"}}],
        })
        .to_string()
    }

    pub(crate) fn install(&self, collection: &str) {
        self.state.lock().installed.insert(collection.to_owned());
    }

    pub(crate) fn uninstall(&self, collection: &str) {
        let mut state = self.state.lock();
        state.installed.remove(collection);
        state.objects.remove(collection);
        state.watches.retain(|(of, _)| of != collection);
    }

    /// Creates or changes an object.
    pub(crate) fn put(&self, collection: &str, object: Value) {
        self.state.lock().put(collection, object);
    }

    pub(crate) fn delete(&self, collection: &str, namespace: &str, name: &str) {
        let mut state = self.state.lock();
        let object = state.objects.get_mut(collection).unwrap().remove(&(namespace.into(), name.into())).unwrap();
        state.tell(collection, "DELETED", object);
    }

    pub(crate) fn object(&self, collection: &str, namespace: &str, name: &str) -> Value {
        self.state.lock().objects[collection][&(namespace.to_owned(), name.to_owned())].clone()
    }

    /// Forgets all that was before now.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        state.oldest = state.version;
    }

    /// Breaks all watches in the middle.
    pub(crate) fn cut(&self) {
        for (_, watch) in std::mem::take(&mut self.state.lock().watches) {
            let _ = watch.try_send(Err(std::io::Error::other("cut")));
        }
    }

    /// Says something to all who watch a collection.
    pub(crate) fn say(&self, collection: &str, text: &str) {
        for (_, watch) in self.state.lock().watches.iter().filter(|(of, _)| of == collection) {
            let _ = watch.try_send(Ok(Bytes::from(text.to_owned())));
        }
    }

    /// Answers the next requests otherwise whose path and query contain a text.
    pub(crate) fn answer_next(&self, containing: &str, times: usize, code: StatusCode, body: &str) {
        self.state.lock().answers.push((containing.to_owned(), times, code, body.to_owned()));
    }

    pub(crate) fn before_write(&self, act: impl FnMut(&mut Inner, &str) + Send + 'static) {
        self.state.lock().before_write = Some(Box::new(act));
    }

    pub(crate) fn down(&self, is_down: bool) {
        self.state.lock().is_down = is_down;
        if is_down {
            self.cut();
        }
    }

    /// How many requests had all of these in them so far.
    pub(crate) fn count(&self, containing: &[&str]) -> usize {
        let state = self.state.lock();
        state.requests.iter().filter(|request| containing.iter().all(|text| request.contains(text))).count()
    }

    pub(crate) fn watchers(&self, collection: &str) -> usize {
        self.state.lock().watches.iter().filter(|(of, watch)| of == collection && !watch.is_closed()).count()
    }
}

impl State {
    fn put(&mut self, collection: &str, mut object: Value) {
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = self.version.to_string().into();
        if metadata["uid"].is_null() {
            metadata["uid"] = format!("uid-{}", metadata["name"]).into();
        }
        let key = key(&object);
        let before = self.objects.entry(collection.to_owned()).or_default().insert(key, object.clone());
        self.tell_as(collection, if before.is_some() { "MODIFIED" } else { "ADDED" }, &object);
    }

    fn tell(&mut self, collection: &str, kind: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell_as(collection, kind, &object);
    }

    fn tell_as(&mut self, collection: &str, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        for (_, watch) in self.watches.iter().filter(|(of, _)| of == collection) {
            let _ = watch.try_send(Ok(Bytes::from(line.clone())));
        }
        self.events.push((self.version, collection.to_owned(), line));
    }
}

fn key(object: &Value) -> (String, String) {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (field("namespace"), field("name"))
}

fn refuse(code: StatusCode, message: &str) -> Response {
    (code, json!({"kind": "Status", "code": code.as_u16(), "message": message}).to_string()).into_response()
}

async fn answer(Shared(fake): Shared<Fake>, method: Method, uri: Uri, body: Bytes) -> Response {
    let full = uri.path_and_query().unwrap().to_string();
    let query: BTreeMap<String, String> =
        uri.query().into_iter().flat_map(|query| form_urlencoded::parse(query.as_bytes()).into_owned()).collect();
    let mut guard = fake.state.lock();
    let state = &mut *guard;
    if state.is_down {
        // As near to nobody as a server can be.
        return Body::from_stream(tokio_stream::iter([Chunk::Err(std::io::Error::other("down"))])).into_response();
    }
    state.requests.push(format!("{method} {full}"));
    if let Some(answer) = state.answers.iter_mut().find(|answer| answer.1 > 0 && full.contains(&answer.0)) {
        answer.1 -= 1;
        return (answer.2, answer.3.clone()).into_response();
    }
    if uri.path().ends_with("/tokenreviews") {
        return refuse(StatusCode::NOT_FOUND, "no");
    }
    let (collection, namespace, name, is_status) = place(uri.path());
    if !state.installed.contains(&collection) {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    }
    if let Some(name) = name {
        return object(state, &method, &collection, (namespace, name), is_status, &body);
    }
    if method == Method::POST {
        let mut object: Value = serde_json::from_slice(&body).unwrap();
        object["metadata"]["namespace"] = namespace.into();
        if state.objects.get(&collection).is_some_and(|objects| objects.contains_key(&key(&object))) {
            return refuse(StatusCode::CONFLICT, "there is one");
        }
        state.put(&collection, object.clone());
        return (StatusCode::CREATED, object.to_string()).into_response();
    }
    if !query.contains_key("watch") {
        return list(state, &collection, &query);
    }
    let since: u64 = query["resourceVersion"].parse().unwrap();
    let (sender, receiver) = mpsc::channel(10_000);
    if since < state.oldest {
        let status = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}});
        let _ = sender.try_send(Ok(Bytes::from(format!("{status}\n"))));
    } else {
        for (_, _, line) in state.events.iter().filter(|(version, of, _)| *version > since && *of == collection) {
            let _ = sender.try_send(Ok(Bytes::from(line.clone())));
        }
        state.watches.push((collection, sender));
    }
    Body::from_stream(ReceiverStream::new(receiver)).into_response()
}

fn list(state: &State, collection: &str, query: &BTreeMap<String, String>) -> Response {
    let all: Vec<&Value> = state.objects.get(collection).map(|objects| objects.values().collect()).unwrap_or_default();
    let from: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
    let to = (from + query["limit"].parse::<usize>().unwrap()).min(all.len());
    let next = if to < all.len() { to.to_string() } else { String::new() };
    let metadata = json!({"resourceVersion": state.version.to_string(), "continue": next});
    json!({"kind": "List", "metadata": metadata, "items": all[from..to]}).to_string().into_response()
}

fn object(
    state: &mut State,
    method: &Method,
    collection: &str,
    key: (String, String),
    is_status: bool,
    body: &[u8],
) -> Response {
    if *method != Method::GET
        && let Some(mut act) = state.before_write.take()
    {
        act(&mut state.objects, collection);
        state.before_write = Some(act);
    }
    let Some(known) = state.objects.get(collection).and_then(|objects| objects.get(&key)).cloned() else {
        return refuse(StatusCode::NOT_FOUND, "no such object");
    };
    if *method == Method::GET {
        return known.to_string().into_response();
    }
    let change: Value = serde_json::from_slice(body).unwrap();
    if change["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"] {
        return refuse(StatusCode::CONFLICT, "somebody else wrote");
    }
    let mut object = known;
    let field = if is_status { "status" } else { "spec" };
    object[field] = change[field].clone();
    state.put(collection, object.clone());
    state.objects[collection][&key].to_string().into_response()
}

/// The collection, the namespace, the name, and whether it is about the status.
fn place(path: &str) -> (String, String, Option<String>, bool) {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let head = if parts[0] == "api" { 2 } else { 3 };
    let (root, rest) = parts.split_at(head);
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let collection = format!("/{}/{}", root.join("/"), rest[0]);
    let name = rest.get(1).map(|name| (*name).to_owned());
    (collection, namespace.to_owned(), name, rest.get(2) == Some(&"status"))
}

/// Waits for something that comes about by itself.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not come about: {what}");
}
