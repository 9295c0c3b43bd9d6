use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use mesh_control_plane::resource::{Kind, ObjectId};
use mesh_control_plane::source::Said;
use mesh_control_plane::source::kubernetes::{Candidate, Desired, Kubernetes, Leadership, Settings, Terms, begin};
use mesh_core::live::Publisher;
use mesh_core::name::NamespacedName;
use mesh_identity::clock::SystemClock;
use mesh_identity::task::Tasks;
use serde_json::{Value, json};

use super::fake::{Fake, LEASES, ROUTES, until};

const OURS: &str = "mesh.example/controller";

struct Writing {
    desired: Publisher<Desired>,
    tasks: Tasks,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Writing {
    fn begin(fake: &Fake, leadership: Leadership) -> Self {
        let (said, _) = Publisher::new(Said::default());
        let (desired, live) = Publisher::new(Desired::new());
        let tasks = Tasks::default();
        let source = Kubernetes::new("cluster", fake.api(), Vec::new());
        let writer = source.status_writer(OURS, leadership, Arc::new(SystemClock));
        tasks.spawn(writer.run(live));
        let more = tasks.clone();
        tasks.spawn(async move { source.run(&more, &said).await });
        Self { desired, tasks }
    }

    fn want(&self, statuses: &[(&str, &Value)]) {
        let one = |(name, status): &(&str, &Value)| (route(name), (*status).clone());
        self.desired.publish(statuses.iter().map(one).collect());
    }
}

fn route(name: &str) -> ObjectId {
    ObjectId { kind: Kind::HttpRoute, name: NamespacedName::new("shop", name) }
}

fn put(fake: &Fake, name: &str, status: Value) {
    fake.put(ROUTES, json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {}, "status": status}));
}

/// What we want to say: that one parent accepts.
fn accepted(is_so: &str) -> Value {
    json!({"parents": [{
        "parentRef": {"name": "gate"},
        "conditions": [{"type": "Accepted", "status": is_so, "reason": "Accepted", "message": "", "observedGeneration": 1}],
    }]})
}

fn status(fake: &Fake, name: &str) -> Value {
    fake.object(ROUTES, "shop", name)["status"].clone()
}

fn has(fake: &Fake, name: &str, is_so: &str) -> bool {
    let status = status(fake, name);
    let parents = status["parents"].as_array().cloned().unwrap_or_default();
    parents.iter().any(|parent| parent["controllerName"] == OURS && parent["conditions"][0]["status"] == is_so)
}

fn writes(fake: &Fake) -> usize {
    fake.count(&["PATCH", "/status"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_differs_is_written_and_nothing_else() {
    let fake = Fake::start().await;
    let theirs = json!({"parentRef": {"name": "other"}, "controllerName": "else.example/c", "conditions": []});
    put(&fake, "a", json!({"parents": [theirs], "others": 7}));
    put(&fake, "b", json!({}));
    let writing = Writing::begin(&fake, Leadership::alone());
    writing.want(&[("a", &accepted("True")), ("b", &accepted("True")), ("nowhere", &accepted("True"))]);
    until("both are written", || has(&fake, "a", "True") && has(&fake, "b", "True")).await;
    let first = status(&fake, "a");
    assert_eq!(first["parents"][0], theirs, "what others say stays");
    assert_eq!(first["others"], 7);
    let since = first["parents"][1]["conditions"][0]["lastTransitionTime"].as_str().unwrap().to_owned();
    assert!(since.ends_with('Z') && since.len() == 20, "{since}");

    // A message changes, and what it says does not: it is true since as long as before.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(writes(&fake), 2, "what is as it should be is not written again");
    let mut other = accepted("True");
    other["parents"][0]["conditions"][0]["message"] = "still".into();
    writing.want(&[("a", &other), ("b", &accepted("False"))]);
    until("both are written", || {
        has(&fake, "b", "False") && status(&fake, "a")["parents"][1]["conditions"][0]["message"] == "still"
    })
    .await;
    assert_eq!(status(&fake, "a")["parents"][1]["conditions"][0]["lastTransitionTime"], since.as_str());
    assert_ne!(status(&fake, "b")["parents"][0]["conditions"][0]["lastTransitionTime"], since.as_str());

    // Somebody wipes it out.
    put(&fake, "b", json!({}));
    until("it is written again", || has(&fake, "b", "False")).await;
    // Nothing to say any more: ours goes, theirs stays.
    writing.want(&[("a", &json!({"parents": []}))]);
    until("ours is gone", || status(&fake, "a")["parents"] == json!([theirs])).await;
    assert!(has(&fake, "b", "False"), "one that is not named is left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_in_between_is_not_overwritten() {
    let fake = Fake::start().await;
    put(&fake, "a", json!({}));
    let mut times = 0;
    fake.before_write(move |objects, collection| {
        let key = ("shop".to_owned(), "a".to_owned());
        if collection == ROUTES && times < 3 {
            times += 1;
            let object = objects.get_mut(ROUTES).unwrap().get_mut(&key).unwrap();
            object["metadata"]["resourceVersion"] = format!("1{times}").into();
            object["status"] =
                json!({"parents": [{"parentRef": {"name": "n"}, "controllerName": format!("c{times}")}]});
        }
    });
    let writing = Writing::begin(&fake, Leadership::alone());
    writing.want(&[("a", &accepted("True"))]);
    until("it is written", || has(&fake, "a", "True")).await;
    assert_eq!(status(&fake, "a")["parents"][0]["controllerName"], "c3", "the last of the others");
    assert_eq!(writes(&fake), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_not_tried_all_the_time_and_holds_nobody_up() {
    let fake = Fake::start().await;
    put(&fake, "a", json!({}));
    put(&fake, "b", json!({}));
    fake.answer_next("/httproutes/a/status", 100, StatusCode::UNPROCESSABLE_ENTITY, "{\"message\":\"no\"}");
    fake.answer_next("/httproutes/b/status", 2, StatusCode::SERVICE_UNAVAILABLE, "busy");
    let writing = Writing::begin(&fake, Leadership::alone());
    writing.want(&[("a", &accepted("True")), ("b", &accepted("True"))]);
    until("the other one is written", || has(&fake, "b", "True")).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let tried = fake.count(&["PATCH", "/httproutes/a/status"]);
    assert_eq!(tried, 1);
    // Changed, it might be taken.
    writing.want(&[("a", &accepted("False"))]);
    until("it is tried", || fake.count(&["PATCH", "/httproutes/a/status"]) == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_written_at_a_bounded_rate() {
    let fake = Fake::start().await;
    let names: Vec<String> = (0..40).map(|number| format!("r{number}")).collect();
    for name in &names {
        put(&fake, name, json!({}));
    }
    let writing = Writing::begin(&fake, Leadership::alone());
    let status = accepted("True");
    let began = tokio::time::Instant::now();
    writing.want(&names.iter().map(|name| (name.as_str(), &status)).collect::<Vec<_>>());
    until("all are written", || names.iter().all(|name| has(&fake, name, "True"))).await;
    assert!(began.elapsed() >= Duration::from_millis(400), "ten in 200 ms: {:?}", began.elapsed());
    assert_eq!(writes(&fake), 40);
}

/// Short, for a test.
const TERMS: Terms =
    Terms { lease: Duration::from_secs(2), renew: Duration::from_millis(1200), retry: Duration::from_millis(150) };

fn candidate(fake: &Fake, identity: &str) -> (Candidate, Leadership) {
    let clock = Arc::new(SystemClock);
    Candidate::new(fake.api(), "istio-system", "mesh-status", identity.to_owned(), TERMS, clock).unwrap()
}

fn lease(fake: &Fake) -> Value {
    fake.object(LEASES, "istio-system", "mesh-status")["spec"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_leads_and_another_takes_over_from_the_dead() {
    let fake = Fake::start().await;
    put(&fake, "a", json!({}));
    let (tasks, (first, first_leads)) = (Tasks::default(), candidate(&fake, "first"));
    tasks.spawn(first.run(std::future::pending()));
    until("the first leads", || first_leads.is_held()).await;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let (second, second_leads) = candidate(&fake, "second");
    let others = Tasks::default();
    others.spawn(second.run(async move {
        let _ = ended.await;
    }));
    let writing = Writing::begin(&fake, second_leads.clone());
    writing.want(&[("a", &accepted("True"))]);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(first_leads.is_held() && !second_leads.is_held(), "longer than the lease, and it is renewed");
    assert_eq!(writes(&fake), 0, "only who leads writes");
    assert_eq!((&lease(&fake)["holderIdentity"], &lease(&fake)["leaseTransitions"]), (&json!("first"), &json!(0)));

    let died = tokio::time::Instant::now();
    tasks.stop().await;
    until("the second leads", || {
        assert!(!(first_leads.is_held() && second_leads.is_held()), "never both");
        second_leads.is_held()
    })
    .await;
    assert!(died.elapsed() > Duration::from_millis(1500), "not before the lease ended: {:?}", died.elapsed());
    assert_eq!((&lease(&fake)["holderIdentity"], &lease(&fake)["leaseTransitions"]), (&json!("second"), &json!(1)));
    until("it writes", || has(&fake, "a", "True")).await;

    // One that ends in peace leaves at once.
    end.send(()).unwrap();
    others.wait().await;
    assert!(!second_leads.is_held());
    assert_eq!(lease(&fake)["holderIdentity"], "");
    let (third, third_leads) = candidate(&fake, "third");
    let left = tokio::time::Instant::now();
    others.spawn(third.run(std::future::pending()));
    until("the third leads", || third_leads.is_held()).await;
    assert!(left.elapsed() < Duration::from_secs(1), "without waiting");
    // Without an API server nobody leads for longer than it has renewed.
    fake.down(true);
    until("it leads no more", || !third_leads.is_held()).await;
    others.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_it_begins_by_settings() {
    let fake = Fake::start().await;
    put(&fake, "a", json!({}));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, fake.kubeconfig()).unwrap();
    let settings = |context: &str| -> Settings {
        serde_json::from_value(json!({
            "kubeconfig": path, "context": context, "discovery_selectors": [], "status": {"controller": OURS},
        }))
        .unwrap()
    };
    let (desired, live) = Publisher::new(Desired::new());
    desired.publish([(route("a"), accepted("True"))].into());
    let tasks = Tasks::default();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let end_of = async move {
        let _ = ended.await;
    };
    let wrong = begin(settings("nowhere"), None, live.clone(), std::future::pending(), &tasks).await;
    assert!(wrong.unwrap_err().to_string().contains("no access to an API server"));
    let said = begin(settings("there"), None, live, end_of, &tasks).await.unwrap();
    until("a status is written", || has(&fake, "a", "True")).await;
    assert_eq!(said.load().world.http_routes.len(), 1);
    assert!(lease(&fake)["holderIdentity"].as_str().unwrap().starts_with("control-plane-"));
    end.send(()).unwrap();
    until("the Lease is given back", || lease(&fake)["holderIdentity"] == "").await;
    tasks.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_begin_at_once_one_leads() {
    let fake = Fake::start().await;
    let tasks = Tasks::default();
    let all: Vec<_> = (0..8).map(|number| candidate(&fake, &format!("c{number}"))).collect();
    let (candidates, leads): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    for candidate in candidates {
        tasks.spawn(candidate.run(std::future::pending()));
    }
    until("one leads", || leads.iter().any(Leadership::is_held)).await;
    for _ in 0..50 {
        assert!(leads.iter().filter(|lead| lead.is_held()).count() <= 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tasks.cancel();
}
