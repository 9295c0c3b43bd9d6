use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use mesh_control_plane::webhook::{Operation, Place, Request, Schema, Validator, Verdict, Webhook, configuration};
use serde_json::{Value, json};

async fn post(webhook: &Webhook, path: &str, body: Vec<u8>) -> (u16, Value) {
    let request = http::Request::post(path).body(Full::new(Bytes::from(body))).unwrap();
    let response = webhook.answer(request).await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
}

fn review(operation: &str, object: &Value) -> Vec<u8> {
    let request = json!({"uid": "u-1", "operation": operation, "namespace": "shop", "object": object});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string().into()
}

fn policy(action: &str) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "shop"}, "spec": {"action": action},
    })
}

#[tokio::test]
async fn what_every_source_would_refuse_is_refused() {
    let webhook = Webhook::new(Arc::new(Schema));
    let mut unknown = policy("ALLOW");
    unknown["spec"]["ruless"] = json!([]);
    let mut leaving = unknown.clone();
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let mut with_status = policy("DENY");
    with_status["status"] = json!({"anything": 7});
    for (operation, object, refusal) in [
        ("CREATE", policy("ALLOW"), None),
        ("UPDATE", with_status, None),
        ("CREATE", policy("PERHAPS"), Some("PERHAPS")),
        ("UPDATE", unknown.clone(), Some("ruless")),
        ("DELETE", unknown, None),
        ("UPDATE", leaving, None),
        ("CREATE", Value::Null, Some("no object")),
        ("CREATE", json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {}}), None),
        ("CREATE", json!({"apiVersion": "security.istio.io/v1", "kind": "Novelty", "metadata": {}}), Some("Novelty")),
        ("CREATE", json!([]), Some("")),
        ("CREATE", json!({}), Some("kind")),
    ] {
        let (code, answer) = post(&webhook, "/validate", review(operation, &object)).await;
        let response = &answer["response"];
        assert_eq!((code, &response["uid"]), (200, &json!("u-1")), "{answer}");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(response["allowed"], refusal.is_none(), "{operation} {object}: {answer}");
        let message = response["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(refusal.unwrap_or_default()), "{answer}");
    }
}

#[tokio::test]
async fn what_is_no_review_is_an_error() {
    let webhook = Webhook::new(Arc::new(Schema));
    let old = String::from_utf8(review("CREATE", &policy("ALLOW"))).unwrap().replace("io/v1\"", "io/v1beta1\"");
    let cases: [(&str, Vec<u8>, u16); 7] = [
        ("/validate", Vec::new(), 400),
        ("/validate", b"{\"kind\":".to_vec(), 400),
        ("/validate", b"[]".to_vec(), 400),
        ("/validate", old.into(), 400),
        ("/validate", review("DANCE", &policy("ALLOW")), 400),
        ("/validate", vec![b'['; 9 * 1024 * 1024], 413),
        ("/elsewhere", review("CREATE", &policy("ALLOW")), 404),
    ];
    for (path, body, wanted) in cases {
        let (code, answer) = post(&webhook, path, body).await;
        assert_eq!(code, wanted, "{answer}");
    }
    let request = http::Request::get("/validate").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(webhook.answer(request).await.status(), 405);
    // Nested deeper than anything is read: an error, and no stack that overflows.
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(post(&webhook, "/validate", deep.into()).await.0, 400);
}

struct Speaks;

impl Validator for Speaks {
    fn validate(&self, request: &Request) -> Verdict {
        match request.operation {
            Operation::Create => Verdict {
                refusal: None,
                warnings: ["one\nline".to_owned(), "ü".repeat(1000)]
                    .into_iter()
                    .chain(vec!["x".repeat(256); 50])
                    .collect(),
            },
            Operation::Update => panic!("cannot judge"),
            _ => {
                std::thread::sleep(Duration::from_millis(4300));
                Verdict::default()
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_bounded_and_who_cannot_judge_refuses() {
    let webhook = Webhook::new(Arc::new(Speaks));
    let (_, answer) = post(&webhook, "/validate", review("CREATE", &policy("ALLOW"))).await;
    let warnings = answer["response"]["warnings"].as_array().unwrap();
    assert_eq!(warnings[0], "one line");
    assert_eq!(warnings[1], "ü".repeat(128).as_str());
    let all: usize = warnings.iter().map(|warning| warning.as_str().unwrap().len()).sum();
    assert!(all <= 4096 && warnings.len() > 10, "{all}");

    let (_, answer) = post(&webhook, "/validate", review("UPDATE", &policy("ALLOW"))).await;
    assert_eq!(answer["response"]["allowed"], false, "{answer}");

    // More than are judged at a time, each longer than anybody waits: all are refused in time.
    let slow = (0..20).map(|_| {
        let webhook = webhook.clone();
        async move { post(&webhook, "/validate", review("DELETE", &policy("ALLOW"))).await.1 }
    });
    let mut all = tokio::task::JoinSet::new();
    let began = tokio::time::Instant::now();
    slow.for_each(|one| drop(all.spawn(one)));
    while let Some(answer) = all.join_next().await {
        assert_eq!(answer.unwrap()["response"]["allowed"], false);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// What is asked is judged among all that sources have in force.
#[cfg(feature = "rego")]
#[tokio::test]
async fn policies_judge_what_an_api_server_asks_about() {
    use mesh_control_plane::admission::gate::Gate;
    use mesh_control_plane::admission::inventory::Inventory;
    use mesh_control_plane::admission::rego::{Admission, PolicyFile};
    use mesh_control_plane::webhook::Judged;

    let text = "package p\nimport rego.v1\nsame contains name if { some name, other in data.inventory.namespace.shop[\"security.istio.io/v1\"].AuthorizationPolicy; other.spec.action == input.request.object.spec.action; name != input.request.name }\ndeny contains sprintf(\"%v says it\", [name]) if { some name in same; input.request.operation != \"DELETE\" }\ndeny contains \"it stays\" if { input.request.operation == \"DELETE\"; input.request.oldObject.spec.action == \"DENY\" }\ndeny contains \"its action stays\" if { input.request.operation == \"UPDATE\"; input.request.oldObject.spec.action != input.request.object.spec.action }";
    let admission = Admission::closed();
    admission.take(&[PolicyFile { path: "p.rego".into(), text: Ok(text.to_owned()) }]).unwrap();
    let gate = Arc::new(Gate::new(Arc::new(admission)));
    gate.join(&"cluster".into());
    let mut other = policy("ALLOW");
    other["metadata"]["name"] = "other".into();
    gate.take("cluster", &[other, policy("DENY")].into_iter().map(Arc::new).collect::<Inventory>());
    let webhook = Webhook::new(Arc::new(Judged(gate)));
    for (operation, object, old, refusal) in [
        ("CREATE", policy("AUDIT"), Value::Null, None),
        ("CREATE", policy("ALLOW"), Value::Null, Some("other says it")),
        ("UPDATE", policy("AUDIT"), policy("AUDIT"), None),
        ("UPDATE", policy("AUDIT"), policy("DENY"), Some("its action stays")),
        ("DELETE", Value::Null, policy("AUDIT"), None),
        ("DELETE", Value::Null, policy("DENY"), Some("it stays")),
    ] {
        let request =
            json!({"uid": "u", "operation": operation, "namespace": "shop", "object": object, "oldObject": old});
        let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let (_, answer) = post(&webhook, "/validate", body.to_string().into()).await;
        assert_eq!(answer["response"]["allowed"], refusal.is_none(), "{operation}: {answer}");
        let message = answer["response"]["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(refusal.unwrap_or_default()), "{operation}: {answer}");
    }
}

#[test]
fn the_configuration_names_the_kinds_that_are_read() {
    let place = Place::Service { namespace: "istio-system".to_owned(), name: "control-plane".to_owned(), port: 443 };
    let yaml = configuration("mesh", &place, b"roots", false);
    for text in [
        "failurePolicy: Fail",
        "caBundle: cm9vdHM=",
        "namespace: \"istio-system\"",
        "path: /validate",
        "httproutes",
        "authorizationpolicies",
    ] {
        assert!(yaml.contains(text), "{text} in {yaml}");
    }
    assert!(yaml.contains("operations: [CREATE, UPDATE]\n"), "{yaml}");
    let deletions = configuration("mesh", &place, b"roots", true);
    assert!(deletions.contains("operations: [CREATE, UPDATE, DELETE]\n"), "{deletions}");
    assert!(!yaml.contains("pods") && !yaml.contains("apiGroups: []"), "{yaml}");
    assert!(
        configuration("mesh", &Place::Url("https://h:1/".to_owned()), b"", false)
            .contains("url: \"https://h:1/validate\"")
    );
}
