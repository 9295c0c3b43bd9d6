use std::sync::Arc;

use axum::http::StatusCode;
use mesh_control_plane::admission::gate::Gate;
use mesh_control_plane::admission::inventory::Inventory;
use mesh_control_plane::admission::judge::{Judge, Review};
#[cfg(feature = "rego")]
use mesh_control_plane::admission::rego::{Admission, PolicyFile};
use mesh_control_plane::finding::{Finding, Severity};
use mesh_control_plane::resource::{LabelSelector, MtlsMode};
use mesh_control_plane::source::kubernetes::Kubernetes;
use mesh_control_plane::source::{Beside, Said, Sources};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::NamespacedName;
use mesh_identity::task::Tasks;
use serde_json::{Value, json};

use super::fake::{Fake, NAMESPACES, PEERS, POLICIES, ROUTES, SERVICES, until};

struct Reading {
    said: Live<Said>,
    tasks: Tasks,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Reading {
    fn begin(fake: &Fake, selectors: Vec<LabelSelector>) -> Self {
        let (publisher, said) = Publisher::new(Said::default());
        let tasks = Tasks::default();
        let source = Kubernetes::new("cluster", fake.api(), selectors);
        let more = tasks.clone();
        tasks.spawn(async move { source.run(&more, &publisher).await });
        Self { said, tasks }
    }

    /// Reads it all.
    async fn of(fake: &Fake) -> Self {
        let reading = Self::begin(fake, Vec::new());
        reading.complete().await;
        reading
    }

    async fn complete(&self) {
        until("all is read", || self.is_complete()).await;
    }

    fn is_complete(&self) -> bool {
        !self.said.load().revision.is_empty()
    }

    /// The services, with the first port of each.
    fn services(&self) -> Vec<String> {
        let said = self.said.load();
        let one = |(name, (_, service)): (&NamespacedName, (_, &mesh_control_plane::resource::Service))| {
            format!("{}:{}", name.name, service.spec.ports.first().map_or(0, |port| port.port))
        };
        said.world.services.iter().map(one).collect()
    }

    fn findings(&self) -> Vec<String> {
        self.said.load().findings.iter().map(ToString::to_string).collect()
    }

    /// The rules of a policy and its action.
    fn policy(&self, name: &str) -> Option<(String, usize)> {
        let said = self.said.load();
        let (_, policy) = said.world.policies.get(&NamespacedName::new("shop", name))?;
        Some((policy.spec.action.clone().unwrap_or_default(), policy.spec.rules.len()))
    }
}

fn service(name: &str, port: u32) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": [{"port": port}]}})
}

fn policy(name: &str, uid: &str, field: &str) -> Value {
    let source = json!({field: ["cluster.local/ns/shop/sa/web"]});
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": uid},
        "spec": {"selector": {"matchLabels": {"app": "db"}}, "action": "ALLOW", "rules": [{"from": [{"source": source}]}]},
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_seen_as_they_come_change_and_go() {
    let fake = Fake::start().await;
    for number in 0..1203 {
        fake.put(SERVICES, service(&format!("s{number:04}"), 80));
    }
    let reading = Reading::of(&fake).await;
    assert_eq!(reading.services().len(), 1203, "over three pages");
    assert_eq!(fake.count(&["/services?", "limit=500"]), 3);
    until("it is watched", || fake.watchers(SERVICES) == 1).await;

    let revision = reading.said.load().revision.clone();
    fake.put(SERVICES, service("new", 81));
    until("a new one", || reading.services().contains(&"new:81".to_owned())).await;
    assert_ne!(reading.said.load().revision, revision);
    fake.put(SERVICES, service("new", 82));
    until("a changed one", || reading.services().contains(&"new:82".to_owned())).await;
    fake.delete(SERVICES, "shop", "new");
    until("one that is gone", || reading.services().len() == 1203).await;
    assert_eq!(fake.count(&["/services?", "limit=500"]), 3, "nothing is listed anew");
    assert_eq!(reading.findings(), Vec::<String>::new());

    // What others write into an object and nothing depends on does not make it another one.
    let before = reading.said.snapshot();
    let mut touched = service("s0000", 80);
    touched["metadata"]["managedFields"] = json!([{"manager": "somebody"}]);
    fake.put(SERVICES, touched);
    fake.put(SERVICES, service("s0001", 90));
    until("the next change", || reading.services().contains(&"s0001:90".to_owned())).await;
    let changed = reading.said.load().world.changed_since(&before.world);
    assert_eq!(changed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["Service shop/s0001"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_costs_no_list_and_loses_nothing() {
    let fake = Fake::start().await;
    fake.put(SERVICES, service("a", 1));
    let reading = Reading::of(&fake).await;
    until("it is watched", || fake.watchers(SERVICES) == 1).await;
    for port in 2..6 {
        fake.cut();
        fake.put(SERVICES, service("a", port));
        until("what was missed comes", || reading.services() == [format!("a:{port}")]).await;
        until("it is watched again", || fake.watchers(SERVICES) == 1).await;
    }
    assert_eq!(fake.count(&["/services?", "limit="]), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_server_forgot_is_listed_anew() {
    let fake = Fake::start().await;
    fake.put(SERVICES, service("a", 1));
    fake.put(SERVICES, service("b", 1));
    let reading = Reading::of(&fake).await;
    until("it is watched", || fake.watchers(SERVICES) == 1).await;

    // As a watch begins.
    fake.cut();
    fake.delete(SERVICES, "shop", "b");
    fake.put(SERVICES, service("c", 1));
    fake.forget();
    until("both are seen", || reading.services() == ["a:1", "c:1"]).await;
    assert_eq!(fake.count(&["/services?", "limit="]), 2);

    // In its middle.
    until("it is watched", || fake.watchers(SERVICES) == 1).await;
    fake.say(SERVICES, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"too old\"}}\n");
    until("it is listed", || fake.count(&["/services?", "limit="]) == 3).await;

    // In the middle of a list, which must begin anew.
    for number in 0..600 {
        fake.put(SERVICES, service(&format!("s{number}"), 1));
    }
    fake.answer_next("continue=", 1, StatusCode::GONE, "{\"message\":\"the continue parameter is too old\"}");
    fake.forget();
    fake.cut();
    until("all are seen", || reading.services().len() == 602).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_of_any_kind_ends_in_a_list() {
    let fake = Fake::start().await;
    fake.put(SERVICES, service("a", 1));
    let reading = Reading::of(&fake).await;
    let garbage = [
        "no JSON\n",
        "{\"type\":\"ADDED\"}\n",
        "{\"type\":\"ADDED\",\"object\":[]}\n",
        "{\"type\":\"DANCED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1\"}}}\n",
        "{\"type\":\"ERROR\",\"object\":\"\"}\n",
        "\u{0}\u{0}\u{0}\n",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":7}}}\n",
    ];
    for (index, text) in garbage.iter().enumerate() {
        until("it is watched", || fake.watchers(SERVICES) == 1).await;
        fake.say(SERVICES, text);
        // Nobody was told of this one.
        let port = u32::try_from(index).unwrap() + 2;
        fake.put(SERVICES, service("a", port));
        until("it is as it should be", || reading.services() == [format!("a:{port}")]).await;
    }
    // Half a line is none, and empty ones say nothing.
    until("it is watched", || fake.watchers(SERVICES) == 1).await;
    fake.say(SERVICES, "\n \n{\"type\":\"DELETED\",\"object\":");
    fake.cut();
    until("it is watched", || fake.watchers(SERVICES) == 1).await;
    assert_eq!(reading.services().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_none_takes_nothing_away() {
    for text in ["", "[]", "{\"items\":[]}", "{\"metadata\":{},\"items\":[]}"] {
        // One each: pauses grow with what goes wrong.
        let fake = Fake::start().await;
        fake.put(SERVICES, service("a", 1));
        let reading = Reading::of(&fake).await;
        until("it is watched", || fake.watchers(SERVICES) == 1).await;
        fake.answer_next("/services?limit", 1, StatusCode::OK, text);
        fake.put(NAMESPACES, json!({"metadata": {"name": "elsewhere"}}));
        fake.forget();
        fake.cut();
        until("it is listed twice", || fake.count(&["/services?", "limit="]) >= 3).await;
        until("it is watched", || fake.watchers(SERVICES) == 1).await;
        assert_eq!(reading.services().len(), 1, "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_that_are_not_installed_are_empty_and_picked_up() {
    let fake = Fake::start().await;
    fake.uninstall(ROUTES);
    fake.uninstall(POLICIES);
    let reading = Reading::of(&fake).await;
    assert_eq!(reading.findings(), Vec::<String>::new());
    let old = "/apis/gateway.networking.k8s.io/v1beta1/httproutes";
    fake.install(old);
    fake.put(old, json!({"metadata": {"name": "r", "namespace": "shop"}, "spec": {}}));
    until("the version that there is", || reading.said.load().world.http_routes.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_object_is_a_finding_and_the_last_good_one_goes_on() {
    let fake = Fake::start().await;
    fake.put(POLICIES, policy("known", "1", "principals"));
    fake.put(POLICIES, policy("unknown", "1", "principalss"));
    fake.put(SERVICES, service("good", 80));
    fake.put(SERVICES, service("bad", 99_999));
    let reading = Reading::of(&fake).await;
    assert_eq!(reading.services(), ["good:80"], "others are not disturbed");
    assert_eq!(reading.policy("known"), Some(("ALLOW".to_owned(), 1)));
    // The rule that cannot be understood might have been the one that protects.
    assert_eq!(reading.policy("unknown"), Some(("DENY".to_owned(), 1)));
    let said = reading.said.load();
    let (_, stand_in) = said.world.policies.get(&NamespacedName::new("shop", "unknown")).unwrap();
    assert_eq!(stand_in.spec.selector.as_ref().unwrap().match_labels["app"], "db", "for whom it was meant");
    assert!(stand_in.spec.rules[0].from.is_none() && stand_in.spec.rules[0].to.is_none());
    assert_eq!(said.findings.len(), 2);
    assert!(said.findings.iter().all(|finding| finding.severity == Severity::Error));
    let texts = reading.findings();
    assert!(texts[1].starts_with("cluster:authorizationpolicies.security.istio.io/shop/unknown:"), "{texts:?}");
    assert!(texts[1].contains("principalss"), "{texts:?}");

    fake.put(POLICIES, policy("known", "1", "principalss"));
    until("a finding", || reading.findings().len() == 3).await;
    assert_eq!(reading.policy("known"), Some(("ALLOW".to_owned(), 1)), "the last good one goes on");
    // As it does over a list.
    fake.forget();
    fake.cut();
    fake.put(SERVICES, service("bad", 81));
    until("it is read anew", || reading.findings().len() == 2).await;
    assert_eq!(reading.policy("known"), Some(("ALLOW".to_owned(), 1)));
    // Another object of that name has no last good version.
    fake.delete(POLICIES, "shop", "known");
    fake.put(POLICIES, policy("known", "2", "principalss"));
    until("closed", || reading.policy("known") == Some(("DENY".to_owned(), 1))).await;
    fake.put(POLICIES, policy("known", "2", "principals"));
    fake.put(POLICIES, policy("unknown", "1", "principals"));
    until("nothing is wrong any more", || reading.findings().is_empty()).await;
    assert_eq!(reading.policy("unknown"), Some(("ALLOW".to_owned(), 1)));
    fake.put(POLICIES, policy("unknown", "1", "nonsense"));
    until("a finding", || reading.findings().len() == 1).await;
    fake.delete(POLICIES, "shop", "unknown");
    until("what is gone is gone", || reading.policy("unknown").is_none() && reading.findings().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_of_a_scope_widens_it() {
    let fake = Fake::start().await;
    let peer = |name: &str, spec: Value| json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    fake.put(PEERS, peer("a", json!({"selector": {"matchLabels": {"app": "a"}}, "mtls": {"mode": "LOOSE"}})));
    fake.put(PEERS, peer("b", json!({"selector": 7, "mtls": {"mode": "DISABLE"}})));
    let mut deep = peer("c", json!({}));
    deep["spec"]["x"] = (0..127).fold(json!(1), |inner, _| json!([inner]));
    fake.put(PEERS, deep);
    let reading = Reading::of(&fake).await;
    let said = reading.said.load();
    for (name, app) in [("a", Some("a")), ("b", None), ("c", None)] {
        let (_, peer) = said.world.peers.get(&NamespacedName::new("shop", name)).unwrap();
        assert_eq!(peer.spec.mtls.mode, MtlsMode::Strict, "{name}");
        let selected = peer.spec.selector.as_ref().map(|selector| selector.match_labels["app"].as_str());
        assert_eq!(selected, app, "{name}");
    }
    assert_eq!(said.findings.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_are_selected_by_their_labels() {
    let fake = Fake::start().await;
    let namespace = |name: &str, mesh: &str| json!({"metadata": {"name": name, "labels": {"mesh": mesh}}});
    let service = |namespace: &str| json!({"metadata": {"name": "s", "namespace": namespace}, "spec": {"ports": []}});
    for (name, mesh) in [("in", "yes"), ("out", "no"), ("too", "yes")] {
        fake.put(NAMESPACES, namespace(name, mesh));
        fake.put(SERVICES, service(name));
    }
    // A namespace that nobody knows is in no selection.
    fake.put(SERVICES, service("nowhere"));
    fake.put(SERVICES, json!({"metadata": {"name": "bad", "namespace": "out"}, "spec": 7}));
    let selector: LabelSelector = serde_json::from_value(json!({"matchLabels": {"mesh": "yes"}})).unwrap();
    let reading = Reading::begin(&fake, vec![selector]);
    reading.complete().await;
    let names = || {
        let said = reading.said.load();
        said.world.services.iter().map(|(name, _)| name.namespace.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["in", "too"]);
    assert_eq!(reading.findings(), Vec::<String>::new(), "nor is what is wrong elsewhere anybody's business");
    fake.put(NAMESPACES, namespace("out", "yes"));
    until("it comes in", || names() == ["in", "out", "too"]).await;
    assert_eq!(reading.findings().len(), 1);
    fake.put(NAMESPACES, namespace("in", "no"));
    until("it goes out", || names() == ["out", "too"]).await;
    fake.delete(NAMESPACES, "", "too");
    until("and this one", || names() == ["out"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_api_server_what_was_read_goes_on_but_nothing_begins() {
    let fake = Fake::start().await;
    fake.put(SERVICES, service("a", 1));
    let reading = Reading::of(&fake).await;
    until("it is watched", || fake.watchers(SERVICES) == 1).await;
    fake.down(true);
    until("it is told", || reading.findings().iter().any(|text| text.contains("goes on"))).await;
    assert_eq!(reading.services(), ["a:1"]);
    assert!(reading.is_complete());

    let other = Reading::begin(&fake, Vec::new());
    until("it is told", || other.findings().iter().any(|text| text.contains("not read yet"))).await;
    assert!(!other.is_complete(), "a source that was never read is not ready");
    assert!(other.said.load().world.is_empty());
    fake.down(false);
    fake.put(SERVICES, service("b", 1));
    until("both see it", || reading.services().len() == 2 && other.services().len() == 2).await;
    until("nothing is wrong any more", || reading.findings().is_empty() && other.findings().is_empty()).await;
    assert!(other.is_complete());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_that_may_not_be_read_keeps_the_source_from_being_ready() {
    let fake = Fake::start().await;
    fake.put(POLICIES, policy("p", "1", "principals"));
    let forbidden = "{\"kind\":\"Status\",\"code\":403,\"message\":\"authorizationpolicies is forbidden\"}";
    fake.answer_next("authorizationpolicies", 3, StatusCode::FORBIDDEN, forbidden);
    let reading = Reading::begin(&fake, Vec::new());
    until("it is told", || reading.findings().iter().any(|text| text.contains("403: authorizationpolicies"))).await;
    assert!(!reading.is_complete(), "without its policies, a mesh would be open");
    reading.complete().await;
    assert!(reading.policy("p").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_objects_come_on_smaller_pages() {
    let fake = Fake::start().await;
    let text = "x".repeat(1_000_000);
    for number in 0..70 {
        let mut service = service(&format!("s{number}"), 80);
        service["metadata"]["managedFields"] = json!([{"manager": text}]);
        fake.put(SERVICES, service);
    }
    let reading = Reading::of(&fake).await;
    assert_eq!(reading.services().len(), 70);
    assert_eq!(fake.count(&["/services?", "limit=500"]), 1);
    assert_eq!(fake.count(&["/services?", "limit=50"]) - 1, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_one_of_several_sources_and_policies_have_a_say_in_it() {
    let fake = Fake::start().await;
    fake.put(SERVICES, service("a", 80));
    fake.put(SERVICES, service("denied", 80));
    let dir = tempfile::tempdir().unwrap();
    let (manifests, kubeconfig) = (dir.path().join("manifests"), dir.path().join("kubeconfig"));
    std::fs::create_dir(&manifests).unwrap();
    let local =
        "apiVersion: v1\nkind: Service\nmetadata: {name: local, namespace: shop}\nspec: {ports: [{port: 80}]}\n";
    std::fs::write(manifests.join("a.yaml"), local).unwrap();
    std::fs::write(&kubeconfig, fake.kubeconfig()).unwrap();
    let settings = serde_json::from_value(json!([
        {"directory": manifests}, {"kubernetes": {"kubeconfig": kubeconfig, "context": "there"}},
    ]));
    let settings: mesh_control_plane::source::settings::Sources = settings.unwrap();
    let tasks = Tasks::default();
    let beside = Beside { gate: Some(Arc::new(Gate::new(Arc::new(DeniesName)))), ..Beside::default() };
    fake.down(true);
    let sources = Sources::start(&settings, None, &beside, &tasks).unwrap();
    let merged = sources.merged();
    until("the directory was read", || merged.load().revisions.contains_key("directory")).await;
    assert_eq!(merged.load().waiting, ["kubernetes".into()], "half of what there is does not count");
    fake.down(false);
    until("both were read", || merged.load().waiting.is_empty()).await;
    let now = merged.snapshot();
    let names: Vec<_> = now.world.services.iter().map(|(key, _)| key.name.to_string()).collect();
    assert_eq!(names, ["a", "local"]);
    let told: Vec<_> = now.findings.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|text| text.contains("kubernetes:services/") && text.contains("no such name")), "{told:?}");
    tasks.cancel();
}

struct DeniesName;

impl Judge for DeniesName {
    fn judge(&self, review: &Review<'_>, _: &Inventory) -> Vec<Finding> {
        let denied = review.subject().name == "denied";
        denied.then(|| review.origin.error("no such name")).into_iter().collect()
    }
}

/// Policies that may be replaced.
#[cfg(feature = "rego")]
struct Replaced {
    admission: Admission,
    revision: std::sync::atomic::AtomicU64,
}

#[cfg(feature = "rego")]
impl Replaced {
    fn take(&self, text: &str) {
        self.admission.take(&[PolicyFile { path: "p.rego".into(), text: Ok(text.to_owned()) }]).unwrap();
        self.revision.fetch_add(1, std::sync::atomic::Ordering::Release);
    }
}

#[cfg(feature = "rego")]
impl Judge for Replaced {
    fn judge(&self, review: &Review<'_>, inventory: &Inventory) -> Vec<Finding> {
        self.admission.judge(review, inventory)
    }

    fn sees_others(&self) -> bool {
        self.admission.sees_others()
    }

    fn revision(&self) -> u64 {
        self.revision.load(std::sync::atomic::Ordering::Acquire)
    }
}

#[cfg(feature = "rego")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_see_the_cluster_and_judge_it_again_when_they_change() {
    let needs = "package p\nviolation[{\"msg\": \"its namespace is not there\"}] { input.review.kind.kind == \"Service\"; input.review.operation != \"DELETE\"; not data.inventory.cluster.v1.Namespace[input.review.namespace] }\nviolation[{\"msg\": \"it stays\"}] { input.review.operation == \"DELETE\"; input.review.oldObject.metadata.name == \"a\" }\nviolation[{\"msg\": \"its port stays\"}] { input.review.operation == \"UPDATE\"; input.review.oldObject.spec.ports != input.review.object.spec.ports; input.review.name == \"a\" }";
    let fake = Fake::start().await;
    fake.put(SERVICES, service("a", 80));
    let replaced =
        Arc::new(Replaced { admission: Admission::closed(), revision: std::sync::atomic::AtomicU64::default() });
    replaced.take(needs);
    let (publisher, said) = Publisher::new(Said::default());
    let tasks = Tasks::default();
    let gate = Some(Arc::new(Gate::new(Arc::clone(&replaced) as _)));
    let source = Kubernetes::new("cluster", fake.api(), Vec::new()).judged(gate);
    let more = tasks.clone();
    tasks.spawn(async move { source.run(&more, &publisher).await });
    let reading = Reading { said, tasks };
    let says = |text: &str| reading.said.load().findings.iter().any(|finding| finding.message.starts_with(text));
    reading.complete().await;
    assert!(reading.services().is_empty() && says("its namespace is not there"), "{:?}", reading.said.load().findings);

    // What it lacked comes later.
    fake.put(NAMESPACES, json!({"metadata": {"name": "shop"}}));
    until("its namespace came", || reading.services() == ["a:80"] && !says("its namespace")).await;

    // What must not change, or go, stays as it was.
    fake.put(SERVICES, service("a", 81));
    until("its port must stay", || says("its port stays")).await;
    assert_eq!(reading.services(), ["a:80"]);
    fake.put(SERVICES, service("a", 80));
    until("it is as it was", || !says("its port")).await;
    fake.delete(SERVICES, "shop", "a");
    until("it must stay", || says("it stays")).await;
    assert_eq!(reading.services(), ["a:80"]);

    // Policies that say otherwise: what they held back takes effect, and what they deny now is named.
    replaced.take("package p\ndeny contains \"no b\" if input.request.name == \"b\"");
    until("it may go", || reading.services().is_empty() && !says("it stays")).await;
    fake.put(SERVICES, service("b", 80));
    until("b is denied", || says("no b")).await;
    replaced.take("package p\ndeny contains \"no c\" if input.request.name == \"c\"");
    until("b is not", || reading.services() == ["b:80"] && !says("no b")).await;
    replaced.take("package p\ndeny contains \"no b\" if input.request.name == \"b\"");
    until("it is flagged", || says("no b")).await;
    assert_eq!(reading.services(), ["b:80"], "it was good once");
}

#[test]
fn every_kind_is_served_somewhere() {
    use mesh_control_plane::resource::Kind;
    use mesh_control_plane::source::kubernetes::Collection;
    for kind in Kind::ALL {
        let collection = Collection::of(*kind).unwrap_or_else(|| panic!("{kind} is not read"));
        assert_eq!(collection.is_namespaced, kind.is_namespaced(), "{kind}");
        assert_eq!(collection.kind(), Some(*kind));
    }
}
