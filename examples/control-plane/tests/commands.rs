//! The commands as programs: what they say to machines and to people, and how they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

#[path = "support/git.rs"]
mod git;
mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::git::Remote;
use crate::support::{BINARY, Region};

const MANIFESTS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}\n---\n\
    apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n\
    spec: {clusterIP: 10.1.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}\n---\n\
    apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: shop, labels: {app: web}}\n\
    spec: {nodeName: node-a, serviceAccountName: web}\n\
    status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: \"True\"}]}\n---\n\
    apiVersion: v1\nkind: Pod\nmetadata: {name: db-1, namespace: shop, labels: {app: db}}\n\
    spec: {nodeName: node-a, serviceAccountName: db}\n\
    status: {podIP: 10.0.0.2, conditions: [{type: Ready, status: \"True\"}]}\n";

const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: closed, namespace: shop}\n\
    spec: {selector: {matchLabels: {app: web}}, action: DENY, rules: [{from: [{source: {principals: [\"cluster.local/ns/shop/sa/db\"]}}]}]}\n";

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: token, namespace: shop}\nstringData: {key: s3cret}\n";

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).env_remove("CONTROL_PLANE_ADMIN").output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {}", error_of(output)))
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).keys().map(String::as_str).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What machines read stays as it is: a key may be added, and none goes or changes its name.
#[tokio::test]
async fn every_command_speaks_json_with_keys_that_stay() {
    let region = Region::new("cluster.local");
    region.write("manifests/mesh.yaml", MANIFESTS);
    let changed = region.path("changed");
    std::fs::create_dir(&changed).unwrap();
    std::fs::write(changed.join("mesh.yaml"), format!("{MANIFESTS}---\n{POLICY}")).unwrap();
    let region = region.serve().await;
    let (address, manifests, changed) =
        (format!("127.0.0.1:{}", region.admin), region.path("manifests"), text(&changed));
    let (manifests, out, authority) = (text(&manifests), region.path("out"), region.path("authority"));
    let at = ["--address", &address];
    let (region_at, named) = (format!("east={address}"), "spiffe://cluster.local/ns/test/sa/me");
    let cases: [(&str, Vec<&str>, i32, &[&str]); 10] = [
        ("check", vec!["check", changed], 0, &["errors", "files", "findings", "warnings"]),
        ("diff of directories", vec!["diff", manifests, changed], 2, &["effects"]),
        ("diff with what is in force", [&["diff", changed][..], &at].concat(), 2, &["effects"]),
        (
            "explain of a directory",
            vec!["explain", "shop/db-1", "web.shop", "--dir", changed],
            2,
            &["access", "from", "to"],
        ),
        ("explain", [&["explain", "shop/db-1", "web.shop"][..], &at].concat(), 0, &["access", "from", "to"]),
        (
            "drift",
            vec!["drift", "--repository", changed, "--region", &region_at],
            1,
            &["differs", "diffs", "regions", "wanted"],
        ),
        ("proxies", [&["proxies"][..], &at].concat(), 0, &[]),
        ("dump", [&["dump"][..], &at].concat(), 0, &[]),
        ("dump of a type", [&["dump", "--type", "Address"][..], &at].concat(), 0, &[]),
        (
            "issue",
            vec!["issue", "--authority", text(&authority), "--spiffe-id", named, "--out", text(&out)],
            0,
            &["certificate_chain", "key", "not_after", "roots", "spiffe_id"],
        ),
    ];
    for (what, arguments, status, expected) in cases {
        let output = run(&[&arguments[..], &["-o", "json"]].concat());
        assert_eq!(code(&output), status, "{what}: {}", error_of(&output));
        let value = json(&output);
        if expected.is_empty() {
            assert!(value.is_array(), "{what}: {value}");
        } else {
            let missing: Vec<_> = expected.iter().filter(|key| !keys(&value).contains(*key)).collect();
            assert!(missing.is_empty(), "{what}: {missing:?} of {:?}", keys(&value));
        }
        // For people it is something else, and ends in the same way.
        let for_people = run(&[&arguments[..], if what.starts_with("dump") { &["-o", "table"] } else { &[] }].concat());
        assert_eq!(code(&for_people), status, "{what}");
        assert!(serde_json::from_slice::<Value>(&for_people.stdout).is_err(), "{what}");
    }
    let dump = json(&run(&["dump", "--address", &address]));
    let expected = BTreeSet::from(["aliases", "content", "name", "type", "version"]);
    assert!(dump.as_array().unwrap().iter().all(|one| keys(one) == expected), "{dump}");
    let effect = &json(&run(&["diff", changed, "--address", &address, "-o", "json"]))["effects"][0];
    assert_eq!(effect["change"], "lost", "{effect}");
}

#[tokio::test]
async fn a_directory_is_compared_with_what_is_in_force_wherever_that_comes_from() {
    let remote = Remote::new();
    remote.write("mesh.yaml", format!("{MANIFESTS}---\n{SECRET}"));
    remote.commit();
    let region = Region::new("cluster.local");
    let settings = std::fs::read_to_string(region.path("settings.yaml")).unwrap();
    let kept: Vec<&str> = settings.lines().filter(|line| !line.starts_with("sources:")).collect();
    region.write(
        "settings.yaml",
        &format!(
            "{}\nstate_dir: {}\nsources:\n- {{name: fleet, git: {{url: '{}', branch: main}}}}\n\
             - {{name: here, directory: {}}}\n",
            kept.join("\n"),
            region.path("state").display(),
            remote.url(),
            region.path("manifests").display()
        ),
    );
    region.write("manifests/policy.yaml", POLICY);
    let region = region.serve().await;
    let address = format!("http://127.0.0.1:{}/", region.admin);
    let wanted = region.path("wanted");
    std::fs::create_dir(&wanted).unwrap();
    let diff = |manifests: String, more: &[&str]| {
        std::fs::write(wanted.join("mesh.yaml"), manifests).unwrap();
        run(&[&["diff", text(&wanted), "--address", &address, "-o", "json"], more].concat())
    };
    let same = diff(format!("{MANIFESTS}---\n{SECRET}---\n{POLICY}"), &[]);
    assert_eq!((code(&same), &json(&same)["effects"]), (0, &serde_json::json!([])), "{}", error_of(&same));
    // The policy stands in the directory, the service in the repository: both are asked for.
    let opened = diff(format!("{MANIFESTS}---\n{SECRET}"), &[]);
    assert_eq!((code(&opened), &json(&opened)["effects"][0]["change"]), (2, &"opened".into()), "{}", json(&opened));
    let moved = diff(format!("{}---\n{SECRET}---\n{POLICY}", MANIFESTS.replace("10.1.0.1", "10.1.0.9")), &[]);
    assert_eq!(code(&moved), 2, "{}", error_of(&moved));
    assert!(json(&moved)["effects"].to_string().contains("10.1.0.1"), "{}", json(&moved));
    let other = diff(format!("{MANIFESTS}---\n{}---\n{POLICY}", SECRET.replace("s3cret", "another")), &[]);
    assert_eq!(code(&other), 0, "{}", error_of(&other));
    let notes = json(&other)["notes"].to_string();
    assert!(notes.contains("Secret shop/token") && !notes.contains("s3cret"), "{notes}");

    for (what, arguments, told) in [
        ("two directories", vec!["diff", "a", "b", "--address", &address], "two directories, or one with"),
        ("one directory", vec!["diff", text(&wanted)], "two directories, or one with"),
        ("nobody there", vec!["diff", text(&wanted), "--address", "127.0.0.1:1"], "127.0.0.1:1"),
        ("both", vec!["diff", text(&wanted), "--git", "HEAD", "--address", &address], "cannot be used with"),
        ("no port", vec!["proxies", "--address", "localhost"], "host:port"),
        ("TLS", vec!["proxies", "--address", "https://localhost:1"], "without TLS"),
    ] {
        let output = run(&arguments);
        assert!(code(&output) != 0 && error_of(&output).contains(told), "{what}: {}", error_of(&output));
    }
}

/// In the shells that this machine has.
#[test]
fn completions_are_scripts_of_their_shells() {
    for (shell, arguments) in [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"])] {
        let script = run(&["completions", shell]).stdout;
        let mut child = match Command::new(shell).args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => {
                eprintln!("SKIPPED: {shell}: {error}");
                continue;
            }
        };
        let mut stdin = child.stdin.take().unwrap();
        let feed = std::thread::spawn(move || stdin.write_all(&script));
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {}", error_of(&output));
    }
    // That the check can fail.
    let mut child = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"if then (").unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn help_says_how_each_command_ends() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(help.contains("Exit status"), "{help}");
    for (command, told) in [("check", "status"), ("diff", "status"), ("drift", "status"), ("explain", "status")] {
        let help = String::from_utf8(run(&[command, "--help"]).stdout).unwrap();
        assert!(help.to_lowercase().contains(told), "{command}: {help}");
    }
}
