//! Policies, analysis and drift, as processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod support;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{BINARY, Region};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: catalog, namespace: shop}\nspec:\n  clusterIP: 10.0.0.1\n  ports: [{name: http, port: 80}]\n  selector: {app: catalog}\n";
const POLICY: &str = "package shop\ndeny contains sprintf(\"port %v is not allowed\", [port.port]) if {\n  some port in input.request.object.spec.ports\n  port.port == 81\n}\n";

fn control_plane(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn body(region: &Region, path: &str) -> Value {
    let answer = region.get(path).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_default()
}

/// A page of the admin endpoint, once it satisfies somebody.
fn page(region: &Region, path: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let page = body(region, path);
        if satisfies(&page) {
            return page;
        }
        assert!(Instant::now() < until, "{path}: {page:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn says(page: &Value, text: &str) -> bool {
    page.as_array().is_some_and(|all| all.iter().any(|one| one["message"].as_str().unwrap().contains(text)))
}

#[test]
fn check_for_the_ci_of_a_repository() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    for name in ["manifests", "policies"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    std::fs::write(at("manifests/a.yaml"), SERVICE).unwrap();
    std::fs::write(at("policies/p.rego"), POLICY).unwrap();
    let (manifests, policies) = (at("manifests"), at("policies"));
    let good = control_plane(&["check", &manifests, "--rego", &policies]);
    assert!(good.status.success(), "{good:?}");
    assert!(out(&good).contains("a.yaml:1: warning: spec.selector: selects no pod"), "{}", out(&good));
    let strict = control_plane(&["check", &manifests, "--fail-on", "warning"]);
    assert_eq!(strict.status.code(), Some(1));
    let suppressed =
        control_plane(&["check", &manifests, "--fail-on", "warning", "-S", "MESH1014=Service catalog.shop"]);
    assert!(suppressed.status.success(), "{suppressed:?}");

    std::fs::write(at("manifests/a.yaml"), SERVICE.replace("port: 80", "port: 81")).unwrap();
    let bad = control_plane(&["check", &manifests, "--rego", &policies, "-o", "json"]);
    assert_eq!(bad.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&bad.stdout).unwrap();
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["object"]),
        (&"MESH1001".into(), &"Service shop/catalog".into()),
        "{report:#}"
    );
    assert!(finding["message"].as_str().unwrap().starts_with("port 81 is not allowed (policy "), "{finding}");
    assert!(control_plane(&["check", &manifests]).status.success(), "without the policy");

    // What goes, or becomes another, compared with what is in force.
    let keeps = "package shop\ndeny contains \"it stays\" if input.request.operation == \"DELETE\"\ndeny contains \"its address stays\" if input.request.object.spec.clusterIP != input.request.oldObject.spec.clusterIP\n";
    std::fs::write(at("policies/p.rego"), keeps).unwrap();
    std::fs::create_dir(dir.path().join("before")).unwrap();
    let before = at("before");
    for (text, said) in [
        (SERVICE.to_owned(), None),
        (SERVICE.replace("10.0.0.1", "10.0.0.2"), Some("its address stays")),
        (SERVICE.replace("catalog", "gone"), Some("it stays")),
    ] {
        std::fs::write(at("before/b.yaml"), &text).unwrap();
        let checked = control_plane(&["check", &manifests, "--rego", &policies, "--before", &before]);
        assert_eq!(checked.status.success(), said.is_none(), "{text} {checked:?}");
        assert!(out(&checked).contains(said.unwrap_or_default()), "{checked:?}");
    }

    std::fs::write(at("policies/p.rego"), "package shop\ndeny[").unwrap();
    let unreadable = control_plane(&["check", &manifests, "--rego", &policies]);
    assert_eq!(unreadable.status.code(), Some(1));
    assert!(out(&unreadable).contains("p.rego:2: error: the policy cannot be used"), "{}", out(&unreadable));
    assert!(out(&control_plane(&["check", "--codes"])).contains("MESH1001  An admission policy denies an object\n"));
}

#[tokio::test]
async fn what_a_policy_denies_never_takes_effect() {
    let region = Region::new("east.test");
    std::fs::create_dir(region.path("policies")).unwrap();
    let policies = region.path("policies");
    region.settings(&format!("admission: {{rego: {}}}\n", policies.display()));
    region.write("policies/p.rego", POLICY);
    region.write("manifests/a.yaml", SERVICE);
    let region = region.serve().await;
    let first = page(&region, "/debug/world", |page| page["objects"].as_array().is_some_and(|all| all.len() == 1));
    page(&region, "/findings", |page| says(page, "selects no pod"));

    region.write("manifests/a.yaml", &SERVICE.replace("port: 80", "port: 81"));
    page(&region, "/findings", |page| says(page, "port 81 is not allowed"));
    let after = page(&region, "/debug/world", |page| page["refused_by"] == 1);
    assert_eq!(after["revision"], first["revision"]);

    // A policy that cannot be read leaves the last good one in force.
    region.write("policies/p.rego", "package shop\ndeny[");
    page(&region, "/findings", |page| says(page, "the policy cannot be used") && says(page, "port 81 is not allowed"));
    // One that allows it lets it take effect.
    region.write("policies/p.rego", &POLICY.replace("== 81", "== 82"));
    page(&region, "/debug/world", |page| page["refused_by"] == 0 && page["revision"] != first["revision"]);
}

#[test]
fn without_a_good_policy_nothing_takes_effect() {
    let region = Region::new("east.test");
    std::fs::create_dir(region.path("manifests/policies")).unwrap();
    region.settings("admission: {path: policies}\n");
    region.write("manifests/policies/p.rego", "package shop\ndeny[");
    region.write("manifests/a.yaml", SERVICE);
    let region = region.begin();
    page(&region, "/findings", |page| says(page, "until there are, all is refused"));
    assert_eq!(body(&region, "/debug/world")["objects"].as_array().unwrap().len(), 0);
    region.write("manifests/policies/p.rego", POLICY);
    page(&region, "/debug/world", |page| page["objects"].as_array().is_some_and(|all| all.len() == 1));
}

#[tokio::test]
async fn drift_between_two_regions_and_their_repository() {
    let repository = tempfile::tempdir().unwrap();
    std::fs::write(repository.path().join("all.yaml"), SERVICE).unwrap();
    let [east, west] = ["east.test", "west.test"].map(Region::new);
    east.write("manifests/elsewhere.yaml", SERVICE);
    west.write("manifests/elsewhere.yaml", SERVICE);
    let (east, west) = (east.serve().await, west.serve().await);
    for region in [&east, &west] {
        page(region, "/debug/world", |page| page["objects"].as_array().is_some_and(|all| all.len() == 1));
    }
    let of = |name: &str, region: &Region| format!("{name}=127.0.0.1:{}", region.admin);
    let (in_east, in_west) = (of("east", &east), of("west", &west));
    let directory = repository.path().display().to_string();
    let drift = |more: &[&str]| {
        let arguments = ["drift", "--region", &in_east, "--region", &in_west];
        control_plane(&[&arguments[..], more].concat())
    };
    let none = drift(&["--repository", &directory]);
    assert!(none.status.success(), "{none:?}");
    assert_eq!(out(&none).matches("as wanted").count(), 2, "{}", out(&none));

    west.write("manifests/elsewhere.yaml", &SERVICE.replace("10.0.0.1", "10.0.0.9"));
    west.write("manifests/more.yaml", &SERVICE.replace("catalog", "extra"));
    page(&west, "/debug/world", |page| page["objects"].as_array().is_some_and(|all| all.len() == 2));
    let some = drift(&["--repository", &directory]);
    assert_eq!(some.status.code(), Some(1), "{some:?}");
    let text = out(&some);
    assert!(text.contains("west: extra Service shop/extra\n"), "{text}");
    for line in
        ["--- repository: Service shop/catalog\n", "-  clusterIP: \"10.0.0.1\"\n", "+  clusterIP: \"10.0.0.9\"\n"]
    {
        assert!(text.contains(line), "{text}");
    }
    let report: Value = serde_json::from_slice(&drift(&["-o", "json"]).stdout).unwrap();
    assert_eq!(report["regions"][0]["drift"]["different"].as_array().unwrap().len(), 0, "the first is the measure");
    assert_eq!(report["regions"][1]["drift"]["different"][0], "Service shop/catalog", "{report:#}");
    assert_ne!(report["regions"][0]["revision"], report["regions"][1]["revision"]);

    drop(east);
    let gone = drift(&["--repository", &directory, "--short"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(out(&gone).contains("Connection refused"), "{}", out(&gone));
}
