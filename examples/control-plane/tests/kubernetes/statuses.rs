//! A control plane as a process that reads a cluster: what it says of the objects is written to them.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::fake::{Fake, GATEWAYS, ROUTES, SERVICES, until};

const OURS: &str = "mesh.example/controller";

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(dir: &std::path::Path, fake: &Fake) -> Running {
    let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [mesh, admin] = ports.map(|listener| listener.local_addr().unwrap());
    std::fs::write(dir.join("kubeconfig"), fake.kubeconfig()).unwrap();
    let settings = json!({
        "listen": mesh, "admin": admin, "authority": {"dir": dir.join("authority")},
        "sources": [{"kubernetes": {
            "kubeconfig": dir.join("kubeconfig"), "context": "there", "status": {"controller": OURS},
        }}],
    });
    std::fs::write(dir.join("settings.yaml"), settings.to_string()).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
    command.arg("serve").arg("--config").arg(dir.join("settings.yaml"));
    Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

fn gateway(generation: i64, listeners: Value) -> Value {
    json!({
        "metadata": {"name": "gate", "namespace": "shop", "generation": generation},
        "spec": {"gatewayClassName": "istio", "listeners": listeners},
    })
}

fn route(status: Value) -> Value {
    json!({
        "metadata": {"name": "carts", "namespace": "shop", "generation": 5},
        "spec": {
            "parentRefs": [{"name": "gate"}, {"name": "theirs"}],
            "rules": [{"backendRefs": [{"name": "carts", "port": 80}]}],
        },
        "status": status,
    })
}

fn condition<'a>(of: &'a Value, kind: &str) -> &'a Value {
    let all = of["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().find(|one| one["type"] == kind).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_are_written_and_those_of_others_stay() {
    let fake = Fake::start().await;
    fake.install(GATEWAYS);
    let theirs = json!({"parentRef": {"name": "theirs"}, "controllerName": "else.example/c", "conditions": []});
    fake.put(ROUTES, route(json!({"parents": [theirs]})));
    fake.put(GATEWAYS, gateway(3, json!([{"name": "web", "port": 80, "protocol": "HTTP"}])));
    let service = |name: &str, port: u16| json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"clusterIP": "10.1.0.1", "ports": [{"name": "http", "port": port}]}});
    fake.put(SERVICES, service("gate", 80));
    let dir = tempfile::tempdir().unwrap();
    let _running = serve(dir.path(), &fake);

    let ours = || {
        let status = fake.object(ROUTES, "shop", "carts")["status"].clone();
        let parents = status["parents"].as_array().cloned().unwrap_or_default();
        assert_eq!(parents.first(), Some(&theirs), "what others say stays");
        parents.get(1).cloned().unwrap_or_default()
    };
    let gate = || fake.object(GATEWAYS, "shop", "gate")["status"].clone();
    until("the route is told of", || condition(&ours(), "ResolvedRefs")["status"] == "False").await;
    let said = ours();
    assert_eq!((&said["controllerName"], &said["parentRef"]["name"]), (&OURS.into(), &"gate".into()));
    assert_eq!(condition(&said, "Accepted")["status"], "True");
    assert_eq!(condition(&said, "ResolvedRefs")["reason"], "BackendNotFound");
    assert_eq!(condition(&said, "Accepted")["observedGeneration"], 5);
    until("the Gateway is told of", || condition(&gate(), "Programmed")["status"] == "True").await;
    assert_eq!(gate()["addresses"], json!([{"type": "Hostname", "value": "gate.shop.svc.cluster.local"}]));
    assert_eq!(
        (&gate()["listeners"][0]["name"], &gate()["listeners"][0]["attachedRoutes"]),
        (&"web".into(), &1.into())
    );

    // What is referred to comes, and nothing else is touched for that.
    fake.put(SERVICES, service("carts", 80));
    until("it is resolved", || condition(&ours(), "ResolvedRefs")["status"] == "True").await;
    // The listener goes, and the one that comes is for others.
    let listeners = json!([{"name": "elsewhere", "port": 81, "protocol": "TCP"}]);
    fake.put(
        GATEWAYS,
        json!({"status": gate(), "metadata": gateway(4, json!([]))["metadata"], "spec": gateway(4, listeners)["spec"]}),
    );
    until("it is not allowed any more", || condition(&ours(), "Accepted")["reason"] == "NotAllowedByListeners").await;
    until("its listener is gone", || gate()["listeners"][0]["name"] == "elsewhere").await;
    assert_eq!(gate()["listeners"].as_array().unwrap().len(), 1);
    assert_eq!(condition(&gate(), "Accepted")["observedGeneration"], 4);
    // Of nobody's any more: ours goes.
    let mut without = fake.object(ROUTES, "shop", "carts");
    without["spec"]["parentRefs"] = json!([{"name": "theirs"}]);
    fake.put(ROUTES, without);
    until("ours is gone", || fake.object(ROUTES, "shop", "carts")["status"]["parents"] == json!([theirs])).await;
    // A Service of which there is nothing to say is left alone.
    assert!(fake.object(SERVICES, "shop", "carts").get("status").is_none());
}
