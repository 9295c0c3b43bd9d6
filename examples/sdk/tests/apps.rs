//! The programs as their users run them: an identity server, and applications that join the mesh with no proxy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_core::name::parse_spiffe_id;
use mesh_identity::clock::SystemClock;
use mesh_identity::connect::Connector;
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;
use mesh_identity::workload_api::{Client, Endpoint};
use tower::Service as _;

use self::support::{Process, wait_for};

mod support;

fn free() -> String {
    support::free().to_string()
}

fn start(program: &str, arguments: &[&str], dir: &Path) -> Process {
    let log = std::fs::File::create(dir.join(Path::new(program).file_name().unwrap())).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .env("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", dir.join("api.sock").display()))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .stdin(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

async fn get(
    identity: &Identity,
    address: &str,
    path: &str,
) -> Result<(StatusCode, String), Box<dyn std::error::Error>> {
    let expected = Expected::Ids(vec![parse_spiffe_id("spiffe://apps.test/axum")?]);
    let mut connector = Connector::new(identity.client_config(expected, &[b"http/1.1"])?);
    let connection = connector.call(format!("http://{address}").parse()?).await?;
    let (mut sender, driver) = hyper::client::conn::http1::handshake(connection).await?;
    let driving = tokio::spawn(driver);
    let response = sender.send_request(Request::get(path).header("host", "axum").body(Empty::<Bytes>::new())?).await?;
    let status = response.status();
    let text = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
    drop(sender);
    let _ = driving.await;
    Ok((status, text))
}

#[tokio::test(flavor = "multi_thread")]
async fn applications_without_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let me = std::env::current_exe().unwrap();
    let (server, axum, tonic) =
        (env!("CARGO_BIN_EXE_spiffe-server"), env!("CARGO_BIN_EXE_axum-app"), env!("CARGO_BIN_EXE_tonic-app"));
    let authz = env!("CARGO_BIN_EXE_axum-authz");
    let real = |path: &str| std::fs::canonicalize(path).unwrap().display().to_string();
    let entry = |name: &str, path: &str| {
        serde_json::json!({
            "spiffe_id": format!("spiffe://apps.test/{name}"), "parent_id": "spiffe://apps.test/node",
            "selectors": [{"type": "unix", "value": format!("path:{path}")}],
        })
    };
    let entries = |test: &str| {
        let all = [
            entry("axum", &real(axum)),
            entry("axum", &real(authz)),
            entry("tonic", &real(tonic)),
            entry(test, &me.canonicalize().unwrap().display().to_string()),
        ];
        std::fs::write(dir.join("entries.json"), serde_json::json!({ "entries": all }).to_string()).unwrap();
    };
    entries("web");
    let socket = dir.join("api.sock");
    let at = |name: &str| dir.join(name).display().to_string();
    let _server = start(
        server,
        &[
            "--trust-domain",
            "apps.test",
            "--dir",
            &at("server"),
            "--entries",
            &at("entries.json"),
            "--listen",
            &free(),
            "--socket",
            &at("api.sock"),
        ],
        dir,
    );
    wait_for("the Workload API", || socket.exists());
    let (axum_at, authz_at, tonic_at) = (free(), free(), free());
    let _axum = start(axum, &["--listen", &axum_at, "--allow", "spiffe://apps.test/web"], dir);
    let _authz = start(authz, &["--listen", &authz_at, "--reader", "apps.test/web"], dir);
    let _tonic = start(tonic, &["serve", "--listen", &tonic_at, "--allow", "spiffe://apps.test/tonic"], dir);
    let listens = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default().contains("listens");
    wait_for("axum", || listens("axum-app"));
    wait_for("authorizing axum", || listens("axum-authz"));
    wait_for("tonic", || listens("tonic-app"));

    let source = Client::connect(&Endpoint::Unix(socket.clone())).source(Arc::new(SystemClock));
    let web = source.identity().await.unwrap();
    assert_eq!(get(&web, &axum_at, "/").await.unwrap(), (StatusCode::OK, "hello spiffe://apps.test/web\n".to_owned()));

    for (path, status) in
        [("/", StatusCode::OK), ("/admin", StatusCode::FORBIDDEN), ("/x/%2e%2e/%61dmin", StatusCode::FORBIDDEN)]
    {
        assert_eq!(get(&web, &authz_at, path).await.unwrap().0, status, "{path}");
    }
    let log = std::fs::read_to_string(dir.join("axum-authz")).unwrap();
    let refused = "spiffe://apps.test/web: rbac_access_denied_matched_policy[ns[apps]-policy[no-admin]-rule[0]]";
    assert!(log.contains(refused), "{log}");

    // The same process under another name is not let in.
    entries("batch");
    let batch = loop {
        let source = Client::connect(&Endpoint::Unix(socket.clone())).source(Arc::new(SystemClock));
        let identity = source.identity().await.unwrap();
        if identity.id().path() == "/batch" {
            break identity;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(get(&batch, &axum_at, "/").await.unwrap().0, StatusCode::FORBIDDEN);
    assert_eq!(get(&batch, &authz_at, "/").await.unwrap().0, StatusCode::FORBIDDEN);

    let check = |expect: &str| {
        let output = Command::new(tonic)
            .args(["check", &tonic_at, expect])
            .env("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", socket.display()))
            .output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(check("spiffe://apps.test/tonic"), (true, "Serving\n".to_owned()));
    assert!(!check("spiffe://apps.test/other").0);
    let log = std::fs::read_to_string(dir.join("tonic-app")).unwrap();
    assert!(log.contains("spiffe://apps.test/tonic calls /grpc.health.v1.Health/Check"), "{log}");
}
