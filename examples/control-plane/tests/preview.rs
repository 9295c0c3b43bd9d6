//! What changes do to traffic, by directories: `old`, `new`, and what is said of the step from the one to the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use mesh_control_plane::admission::admit;
use mesh_control_plane::preview::diff::{Change, Report, diff};
use mesh_control_plane::preview::{Access, Answer, Mesh, Question};
use mesh_control_plane::source::dir;
use mesh_control_plane::translate::Place;

use crate::support::Region;

fn place() -> Place {
    Place::new("cluster.local".parse().unwrap(), "Kubernetes")
}

fn mesh(directory: &Path) -> Mesh {
    let (world, _) = admit(&dir::read(directory).unwrap()).unwrap();
    Mesh::new(&world, &place())
}

fn topics() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-preview");
    let mut topics: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    topics.sort();
    topics
}

fn report(topic: &str) -> Report {
    let root = topics().into_iter().find(|path| path.ends_with(topic)).unwrap();
    diff(&mesh(&root.join("old")), &mesh(&root.join("new")))
}

#[test]
fn golden() {
    let topics = topics();
    assert!(topics.len() >= 20, "{} topics", topics.len());
    let mut wrong = Vec::new();
    for directory in topics {
        let report = diff(&mesh(&directory.join("old")), &mesh(&directory.join("new")));
        let text = report.to_string();
        let expected = directory.join("expected.txt");
        if std::env::var("MESH_GOLDEN_WRITE").is_ok() {
            fs::write(&expected, &text).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(format!("{}\n{text}", directory.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_changes_between_a_world_and_itself() {
    for directory in topics() {
        for side in ["old", "new"] {
            let mesh = mesh(&directory.join(side));
            assert_eq!(diff(&mesh, &mesh), Report::default(), "{}", directory.display());
        }
    }
}

#[test]
fn what_opens_on_the_way_there_is_lost_on_the_way_back() {
    for directory in topics() {
        let (old, new) = (mesh(&directory.join("old")), mesh(&directory.join("new")));
        let (there, back) = (diff(&old, &new), diff(&new, &old));
        for (change, opposite) in
            [(Change::Opened, Change::Lost), (Change::Lost, Change::Opened), (Change::Moved, Change::Moved)]
        {
            assert_eq!(there.of(change).count(), back.of(opposite).count(), "{}\n{there}\n{back}", directory.display());
        }
    }
}

#[test]
fn the_riskiest_comes_first() {
    let report = report("waypoint-label-removed");
    let changes: Vec<Change> = report.effects.iter().map(|effect| effect.change).collect();
    let mut sorted = changes.clone();
    sorted.sort();
    assert_eq!(changes, sorted);
    assert_eq!(changes.first(), Some(&Change::Opened));
}

#[test]
fn machines_and_pull_requests_are_told_the_same() {
    let report = report("paths-widened");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["effects"].as_array().unwrap().len(), report.effects.len());
    assert_eq!(json["effects"][0]["change"], "opened");
    assert_eq!(json["effects"][0]["before"]["access"], "refused");
    assert_eq!(json["effects"][0]["after"]["causes"][0]["why"], "allow_policy");
    let markdown = report.markdown();
    assert!(markdown.starts_with("**What this does to traffic:** "), "{markdown}");
    assert!(markdown.contains("### Opened access"), "{markdown}");
    assert!(Report::default().markdown().contains("No effect"));
}

fn explain(topic: &str, side: &str, from: &str, to: &str, request: &[&str]) -> Answer {
    let root = topics().into_iter().find(|path| path.ends_with(topic)).unwrap();
    let [method, path] = [0, 1].map(|at| request.get(at).map(|text| (*text).to_owned()));
    let headers = request.get(2..).unwrap_or_default().iter().map(|text| text.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let question = Question { from: from.to_owned(), to: to.to_owned(), method, path, host: None, headers };
    mesh(&root.join(side)).explain(&question).unwrap()
}

#[test]
fn whoever_asks_learns_what_decides() {
    for (topic, side, from, to, request, access, because) in [
        (
            "policy-added",
            "new",
            "shop/web-1",
            "payments",
            &[][..],
            Access::Open,
            "policy shop/payments (policy.yaml:1)",
        ),
        (
            "policy-added",
            "new",
            "team/tools-1",
            "payments.shop",
            &[],
            Access::Refused,
            "policy shop/payments (policy.yaml:1)",
        ),
        ("policy-added", "new", "10.9.9.9", "10.0.0.2:8080", &[], Access::Refused, "no ALLOW policy matches"),
        ("policy-added", "new", "team/tools", "shop/web-1:80", &[], Access::Open, "no policy restricts it"),
        (
            "policy-added",
            "old",
            "spiffe://other/ns/a/sa/b",
            "payments.shop:80",
            &[],
            Access::Open,
            "no policy restricts it",
        ),
        ("policy-added", "old", "shop/web-1", "payments:81", &[], Access::Refused, "the service has no such port"),
        (
            "paths-widened",
            "new",
            "shop/web-1",
            "http://payments.shop/orders",
            &["POST"],
            Access::Open,
            "policy shop/api rule 0",
        ),
        (
            "paths-widened",
            "old",
            "shop/web-1",
            "http://payments.shop/orders",
            &["POST"],
            Access::Refused,
            "policy shop/api",
        ),
        // A waypoint reads paths in their normal form.
        (
            "paths-widened",
            "old",
            "shop/web-1",
            "payments",
            &["GET", "/cart/../orders"],
            Access::Refused,
            "policy shop/api",
        ),
        (
            "paths-widened",
            "old",
            "shop/web-1",
            "payments",
            &["GET", "/x/../cart/1"],
            Access::Open,
            "policy shop/api rule 0",
        ),
        // In plaintext, past the waypoint.
        ("paths-widened", "new", "10.9.9.9", "payments.shop", &[], Access::Open, "no policy restricts it"),
        (
            "waypoint-not-let-in",
            "new",
            "shop/web-1",
            "payments",
            &[],
            Access::Refused,
            "about the waypoint shop/waypoint",
        ),
        (
            "strict-mutual-tls",
            "new",
            "10.9.9.9",
            "payments.shop",
            &[],
            Access::Refused,
            "PeerAuthentication STRICT (peers.yaml:1)",
        ),
        (
            "waypoint-missing",
            "new",
            "shop/web-1",
            "payments",
            &[],
            Access::Refused,
            "the waypoint is not known or has no endpoint",
        ),
    ] {
        let answer = explain(topic, side, from, to, request);
        assert_eq!(answer.outcome.access, access, "{answer}");
        assert!(answer.because.iter().any(|why| why.contains(because)), "{answer}");
    }
}

#[test]
fn the_route_and_all_that_was_considered_are_named() {
    let answer = explain("header-match-added", "new", "shop/web-1", "reviews", &["GET", "/", "x-beta: 1"]);
    assert_eq!(
        answer.to_string(),
        "from shop/web-1 spiffe://cluster.local/ns/shop/sa/web at 10.0.0.1\n\
         to   service reviews.shop.svc.cluster.local port 80\n     GET / at reviews\n\
         open: no policy restricts it (waypoint shop/waypoint)\n\n\
         way: through the waypoint shop/waypoint for 10.1.0.2:80 (the waypoint of the service): open\n  \
         route HTTPRoute shop/reviews rule 0 (route.yaml:1)\n    \
         if Prefix { prefix: \"/\", ignore_case: false } and x-beta \"1\"\n    \
         to reviews-v2.shop.svc.cluster.local:80\n  \
         endpoint shop/reviews-v2-1 at 10.0.0.6:9080 through a tunnel\n"
    );
    let answer = explain("paths-widened", "new", "team/tools-1", "payments.shop", &["DELETE", "/orders"]);
    let considered = &answer.ways[0].considered[0];
    assert_eq!((considered.action, considered.matches), ("ALLOW", false));
    assert!(considered.policy.contains("shop/api rule 0 (policy.yaml:1)"), "{considered:?}");
    assert!(considered.because.contains("sees"), "{considered:?}");
}

#[test]
fn what_means_nothing_is_named() {
    let mesh = mesh(&topics().first().unwrap().join("old"));
    let ask = |from: &str, to: &str, path: &str| {
        let question = Question { from: from.into(), to: to.into(), path: Some(path.into()), ..Question::default() };
        mesh.explain(&question).map(|answer| answer.to_string()).unwrap_err().to_string()
    };
    assert!(ask("shop/nobody", "payments", "/").starts_with("from `shop/nobody`"));
    assert!(ask("shop/web-1", "nothing", "/").starts_with("to `nothing`"));
    assert!(ask("shop/web-1", "payments:no", "/").starts_with("to `payments:no`"));
    assert!(ask("shop/web-1", "shop/web-1", "/").contains("which port?"));
    assert_eq!(ask("shop/web-1", "payments", "no path"), "`no path` is no path");
    for text in ["", ":", "/", "://", "http://", "[::1", "[::1]:0", "a:b:c", "*", "\u{0}", "spiffe://", "..", "é"] {
        ask(text, text, "/");
    }
}

fn run(arguments: &[&std::ffi::OsStr]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_control-plane")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn exit_statuses_are_those_of_diff() {
    let root = |topic: &str| topics().into_iter().find(|path| path.ends_with(topic)).unwrap();
    let (old, new) = (root("policy-added").join("old"), root("policy-added").join("new"));
    let compare = |more: &[&str], old: &Path, new: &Path| {
        let mut arguments = vec!["diff".as_ref(), old.as_os_str(), new.as_os_str()];
        arguments.extend(more.iter().map(std::ffi::OsStr::new));
        run(&arguments)
    };
    assert_eq!(compare(&[], &old, &old), (Some(0), "no effect on traffic\n".to_owned(), String::new()));
    let (status, text, _) = compare(&[], &old, &new);
    assert_eq!((status, text.starts_with("LOST ACCESS\n")), (Some(2), true), "{text}");
    assert_eq!(compare(&["--fail-on", "opened,moved"], &old, &new).0, Some(0));
    assert_eq!(compare(&["--fail-on", "opened,lost"], &old, &new).0, Some(2));
    assert_eq!(compare(&[], &old, Path::new("/nowhere")).0, Some(1));
    let (_, text, _) = compare(&["-o", "json"], &old, &new);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["effects"][0]["change"], "lost");
    assert!(compare(&["-o", "markdown"], &old, &new).1.contains("### Lost access"));

    let ask = |from: &str| {
        let arguments = ["explain", from, "payments.shop", "-o", "json", "--dir"].map(std::ffi::OsStr::new);
        run(&[&arguments[..], &[new.as_os_str()]].concat())
    };
    assert_eq!(ask("shop/web-1").0, Some(0));
    let (status, text, _) = ask("team/tools-1");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, json["access"].as_str()), (Some(2), Some("refused")));
    let (status, _, error) = ask("nobody");
    assert!(status == Some(1) && error.contains("from `nobody`"), "{error}");
}

#[test]
fn a_manifest_that_could_not_be_served_is_named() {
    let old = topics().first().unwrap().join("old");
    let bad = tempfile::tempdir().unwrap();
    fs::write(bad.path().join("bad.yaml"), "apiVersion: v1\nkind: Service\nmetadata: [\n").unwrap();
    let (status, text, error) = run(&["diff".as_ref(), old.as_os_str(), bad.path().as_os_str()]);
    assert_eq!((status, text.as_str()), (Some(1), ""));
    assert!(error.contains("bad.yaml:"), "{error}");
}

/// Git in a directory; whether it could be run.
fn git(directory: &Path, arguments: &[&str]) -> bool {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
    let mut command = std::process::Command::new("git");
    command.arg("-C").arg(directory).args(identity).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_checkout_is_compared_with_a_revision() {
    let repository = tempfile::tempdir().unwrap();
    if !git(repository.path(), &["init", "-q"]) {
        eprintln!("skipped: there is no git");
        return;
    }
    let manifests = repository.path().join("mesh");
    let topic = topics().into_iter().find(|path| path.ends_with("policy-added")).unwrap();
    fs::create_dir(&manifests).unwrap();
    fs::write(repository.path().join("elsewhere.yaml"), "kind: Nonsense\nmetadata: [").unwrap();
    fs::write(manifests.join(".hidden.yaml"), "kind: Nonsense\nmetadata: [").unwrap();
    fs::copy(topic.join("old/mesh.yaml"), manifests.join("mesh.yaml")).unwrap();
    assert!(git(repository.path(), &["add", "-A"]) && git(repository.path(), &["commit", "-q", "-m", "one"]));
    fs::copy(topic.join("new/policy.yaml"), manifests.join("policy.yaml")).unwrap();

    let compare = |revision: &str| run(&["diff".as_ref(), format!("--git={revision}").as_ref(), manifests.as_os_str()]);
    let expected = fs::read_to_string(topic.join("expected.txt")).unwrap();
    assert_eq!(compare("HEAD"), (Some(2), expected, String::new()));
    assert!(git(repository.path(), &["add", "-A"]) && git(repository.path(), &["commit", "-q", "-m", "two"]));
    assert_eq!(compare("HEAD").0, Some(0));
    for bad in ["nowhere", "--all", "HEAD:mesh"] {
        assert_eq!(compare(bad).0, Some(1), "{bad}");
    }
}

#[tokio::test]
async fn a_running_control_plane_explains() {
    let region = Region::new("cluster.local");
    let topic = topics().into_iter().find(|path| path.ends_with("policy-added")).unwrap();
    for file in ["mesh.yaml", "policy.yaml"] {
        fs::copy(topic.join("new").join(file), region.path("manifests").join(file)).unwrap();
    }
    let region = region.serve().await;
    let address = format!("127.0.0.1:{}", region.admin);
    let ask = |from: &str| run(&["explain", from, "payments.shop", "--address", &address].map(std::ffi::OsStr::new));
    let (status, text, error) = ask("team/tools-1");
    assert_eq!(status, Some(2), "{text}{error}");
    assert!(text.contains("refused: no ALLOW policy matches: policy shop/payments (policy.yaml:1)"), "{text}");
    assert_eq!(ask("shop/web-1").0, Some(0));
    let (status, _, error) = ask("shop/nobody");
    assert!(status == Some(1) && error.contains("from `shop/nobody`"), "{error}");
}

/// 2,000 workloads in 50 namespaces, 500 services, 500 policies, a waypoint in every fifth namespace.
fn large(changed: bool) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for n in 0..50 {
        let waypoint = n % 5 == 0;
        let bound = if waypoint { ", istio.io/use-waypoint: waypoint" } else { "" };
        let _ = write!(
            text,
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: n{n}, labels: {{istio.io/dataplane-mode: ambient{bound}}}}}\n---\n"
        );
        if waypoint {
            let _ = write!(
                text,
                "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: waypoint, namespace: n{n}}}\n\
                 spec: {{gatewayClassName: istio-waypoint, addresses: [{{type: IPAddress, value: 10.{n}.255.1}}], \
                 listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}\n---\napiVersion: v1\nkind: Pod\n\
                 metadata: {{name: waypoint-1, namespace: n{n}, labels: {{gateway.networking.k8s.io/gateway-name: waypoint}}}}\n\
                 spec: {{serviceAccountName: waypoint}}\n\
                 status: {{podIP: 10.{n}.255.1, conditions: [{{type: Ready, status: \"True\"}}]}}\n---\n"
            );
        }
        for s in 0..10 {
            let _ = write!(
                text,
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s{s}, namespace: n{n}}}\nspec: {{clusterIP: 10.{}.0.{}, \
                 selector: {{app: s{s}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n---\n",
                100 + n,
                s + 1
            );
            for p in 0..4 {
                let _ = write!(
                    text,
                    "apiVersion: v1\nkind: Pod\nmetadata: {{name: s{s}-{p}, namespace: n{n}, labels: {{app: s{s}}}}}\n\
                     spec: {{serviceAccountName: s{s}}}\n\
                     status: {{podIP: 10.{n}.{s}.{}, conditions: [{{type: Ready, status: \"True\"}}]}}\n---\n",
                    p + 1
                );
            }
            let (to, operation) = match waypoint {
                true => (
                    format!("targetRefs: [{{kind: Service, name: s{s}}}]"),
                    "methods: [GET, POST], paths: [\"/api/*\"]",
                ),
                false => (format!("selector: {{matchLabels: {{app: s{s}}}}}"), "ports: [\"8080\"]"),
            };
            // In the changed one, every policy lets one more in.
            let more = if changed { format!(", cluster.local/ns/n{}/sa/s{s}", (n + 7) % 50) } else { String::new() };
            let _ = write!(
                text,
                "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{s}, namespace: n{n}}}\n\
                 spec: {{{to}, rules: [{{from: [{{source: {{principals: [cluster.local/ns/n{}/sa/s{}{more}]}}}}], \
                 to: [{{operation: {{{operation}}}}}]}}]}}\n---\n",
                (n + 1) % 50,
                (s + 3) % 10
            );
        }
    }
    text
}

/// `cargo test --release --test preview -- --ignored --nocapture` says how long it takes.
#[test]
#[ignore = "measures"]
fn a_change_of_all_policies_of_a_large_mesh() {
    let meshes = [false, true].map(|changed| {
        let files = [dir::SourceFile { path: "mesh.yaml".into(), text: Ok(large(changed)) }];
        admit(&files).unwrap().0
    });
    let began = std::time::Instant::now();
    let [old, new] = meshes.map(|world| Mesh::new(&world, &place()));
    let made = began.elapsed();
    let report = diff(&old, &new);
    eprintln!("two meshes {made:?}, their difference {:?}, {} effects", began.elapsed() - made, report.effects.len());
    assert_eq!(report.of(Change::Opened).count(), report.effects.len());
    assert_eq!(report.effects.len(), 500, "one account gets in at each service");
    let began = std::time::Instant::now();
    assert_eq!(diff(&old, &old), Report::default());
    eprintln!("nothing {:?}", began.elapsed());
}
