//! Serving as a process: callers with tokens of Kubernetes, replicas, a restart under many clients, commands, figures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod support;

use std::collections::HashMap;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::name::parse_spiffe_id;
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{CsrSource, Issued, SvidSource, TokenSource};
use mesh_identity::svid::X509Svid;
use mesh_test_support::token::TokenIssuer;
use mesh_xds::pb::Node;
use mesh_xds::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::support::{BINARY, Region, until};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const WORKLOADS: usize = 300;

/// A namespace with this many pods on two nodes, a service and a policy.
fn manifests(workloads: usize) -> String {
    let mut text = String::from(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n\
         spec: {clusterIP: 10.1.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}\n---\n\
         apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: open, namespace: shop}\n\
         spec: {rules: [{from: [{source: {principals: [\"cluster.local/ns/shop/sa/web\"]}}]}]}\n",
    );
    for number in 0..workloads {
        let node = if number % 2 == 0 { "node-a" } else { "node-b" };
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web-{number}, namespace: shop, labels: {{app: web}}}}\n\
             spec: {{nodeName: {node}, serviceAccountName: {}}}\n\
             status: {{podIP: 10.0.{}.{}, conditions: [{{type: Ready, status: \"True\"}}]}}\n",
            if node == "node-a" { "web" } else { "db" },
            number / 200,
            number % 200 + 1,
        ));
    }
    text
}

fn region(more: &str) -> Region {
    let region = Region::new("cluster.local");
    region.write("manifests/mesh.yaml", &manifests(WORKLOADS));
    region.write("token", TOKEN);
    let token = region.path("token");
    region.settings(&format!("nodes: [{{name: node-a, token_file: {}}}]\n{more}", token.display()));
    region
}

/// A delta stream of a node's proxy.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    answers: Streaming<DeltaDiscoveryResponse>,
    held: HashMap<String, HashMap<String, String>>,
}

/// What a proxy was told: resources, and bytes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    resources: usize,
    bytes: usize,
}

impl Proxy {
    /// Comes with what it holds, and takes the first answer of each type.
    async fn come(
        channel: Channel,
        token: &str,
        held: HashMap<String, HashMap<String, String>>,
    ) -> Result<(Self, Told), Status> {
        let (requests, stream) = mpsc::channel(16);
        for url in [POLICY_TYPE, ADDRESS_TYPE] {
            let first = DeltaDiscoveryRequest {
                node: Some(Node { id: "ztunnel~10.9.9.9~zt-a.istio-system~x".into(), ..Node::default() }),
                type_url: url.to_owned(),
                initial_resource_versions: held.get(url).cloned().unwrap_or_default(),
                ..DeltaDiscoveryRequest::default()
            };
            requests.send(first).await.unwrap();
        }
        let mut request = Request::new(ReceiverStream::new(stream));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request.metadata_mut().insert("clusterid", "Kubernetes".parse().unwrap());
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(64 * 1024 * 1024);
        let answers = client.delta_aggregated_resources(request).await?.into_inner();
        let mut proxy = Self { requests, answers, held };
        let mut told = Told::default();
        for _ in 0..2 {
            let more = proxy.take().await?;
            told = Told { resources: told.resources + more.resources, bytes: told.bytes + more.bytes };
        }
        Ok((proxy, told))
    }

    /// Takes an answer.
    async fn take(&mut self) -> Result<Told, Status> {
        let answer = self.answers.message().await?.expect("an answer");
        let held = self.held.entry(answer.type_url.clone()).or_default();
        let mut told = Told::default();
        for resource in &answer.resources {
            held.insert(resource.name.clone(), resource.version.clone());
            told.resources += 1;
            told.bytes += resource.resource.as_ref().map_or(0, |body| body.value.len());
        }
        told.resources += answer.removed_resources.len();
        for name in &answer.removed_resources {
            held.remove(name);
        }
        self.say(&answer, None).await;
        Ok(told)
    }

    async fn say(&self, answer: &DeltaDiscoveryResponse, against: Option<&str>) {
        let said = DeltaDiscoveryRequest {
            type_url: answer.type_url.clone(),
            response_nonce: answer.nonce.clone(),
            error_detail: against.map(|reason| mesh_xds::pb::Status {
                code: 3,
                message: reason.to_owned(),
                details: Vec::new(),
            }),
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(said).await.unwrap();
    }
}

/// The service account token of a pod.
fn claims(account: &str, pod: &str, node: &str) -> Value {
    let (namespace, name) = account.split_once('/').unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": ISSUER, "aud": ["istio-ca"], "iat": now, "nbf": now, "exp": now + 3600,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "kubernetes.io": {
            "namespace": namespace, "serviceaccount": {"name": name, "uid": "1"},
            "pod": {"name": pod, "uid": "2"}, "node": {"name": node, "uid": "3"},
        },
    })
}

/// A certificate by a token.
async fn certificate(region: &Region, token: &str, id: &str) -> Result<Issued, String> {
    let source = CsrSource::new(
        region.nobody(),
        TokenSource::Fixed(token.into()),
        Duration::from_secs(3600),
        Arc::new(SystemClock),
    );
    source.fetch(&parse_spiffe_id(id).unwrap()).await.map_err(|error| mesh_core::report::chain(&error))
}

impl Region {
    fn figure(&self, name: &str) -> f64 {
        let metrics = self.metrics();
        let line = metrics
            .lines()
            .find(|line| line.strip_prefix("mesh_control_plane_").is_some_and(|rest| rest.starts_with(name)));
        let line = line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn json(&self, path: &str) -> Value {
        let text = self.get(path).unwrap();
        serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// A command that asks the admin endpoint.
    fn ask(&self, arguments: &[&str]) -> Output {
        let address = format!("127.0.0.1:{}", self.admin);
        Command::new(BINARY).args(arguments).args(["--address", &address]).output().unwrap()
    }
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_service_accounts_open_discovery_and_are_good_for_the_node_of_their_pod() {
    let cluster = TokenIssuer::new();
    let region = region("");
    region.write("jwks.json", &cluster.jwks());
    let keys = region.path("jwks.json");
    region.settings(&format!("kubernetes: [{{issuer: \"{ISSUER}\", jwks: {}}}]\n", keys.display()));
    let region = region.serve().await;
    let ztunnel = cluster.sign(&claims("istio-system/ztunnel", "ztunnel-a", "node-a"));
    let (_proxy, told) = Proxy::come(region.nobody(), &ztunnel, HashMap::new()).await.unwrap();
    assert_eq!(told.resources, WORKLOADS + 2, "workloads, a service and a policy");
    let clients = region.json("/debug/connections");
    assert_eq!((&clients[0]["client"], &clients[0]["kind"]), (&json!("node-a"), &json!("ztunnel")), "{clients}");

    let web = "spiffe://cluster.local/ns/shop/sa/web";
    let issued = certificate(&region, &ztunnel, web).await.unwrap();
    assert_eq!(issued.svid.id().to_string(), web);
    let web_token = cluster.sign(&claims("shop/web", "web-0", "node-a"));
    certificate(&region, &web_token, web).await.unwrap();
    let mut audience = claims("istio-system/ztunnel", "ztunnel-a", "node-a");
    audience["aud"] = json!(["vault"]);
    for (what, token, id) in [
        ("on another node", &ztunnel, "spiffe://cluster.local/ns/shop/sa/db"),
        ("another trust domain", &ztunnel, "spiffe://other.test/ns/shop/sa/web"),
        ("no proxy of a node", &web_token, "spiffe://cluster.local/ns/shop/sa/db"),
        ("for another audience", &cluster.sign(&audience), web),
        ("of another cluster", &TokenIssuer::new().sign(&claims("istio-system/ztunnel", "ztunnel-a", "node-a")), web),
        ("no token", &"x".repeat(32), web),
    ] {
        let error = certificate(&region, token, id).await.unwrap_err();
        assert!(error.to_lowercase().contains("authenticat"), "{what}: {error}");
    }
    for (token, outcome) in [("no", Code::Unauthenticated), (TOKEN, Code::Ok)] {
        let code =
            Proxy::come(region.nobody(), token, HashMap::new()).await.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(code, outcome);
    }
    assert_eq!(region.figure("certificates_total{outcome=\"issued\"}"), 2.0);
    assert_eq!(region.figure("certificates_total{outcome=\"forbidden\"}"), 2.0);
    assert_eq!(region.figure("certificates_total{outcome=\"trust_domain\"}"), 1.0);
    assert_eq!(region.figure("certificates_total{outcome=\"unauthenticated\"}"), 3.0);

    // Keys are followed.
    let renewed = TokenIssuer::new();
    region.write("jwks.json", &renewed.jwks());
    let told = || std::fs::read_to_string(region.path("log")).unwrap().contains("the file was read anew");
    until("the new keys are taken", told).await;
    let token = renewed.sign(&claims("istio-system/ztunnel", "ztunnel-a", "node-a"));
    certificate(&region, &token, web).await.unwrap();
    assert!(certificate(&region, &ztunnel, web).await.is_err());
}

/// How a stream of node `node-a` ends that begins by saying to be on a node; `None` if it is answered.
async fn on_node(region: &Region, name: &str) -> Option<Code> {
    use mesh_xds::pb::{Kind, Struct, Value};
    let value = Value { kind: Some(Kind::StringValue(name.to_owned())) };
    let metadata = Struct { fields: [("NODE_NAME".to_owned(), value)].into_iter().collect() };
    let id = "ztunnel~10.9.9.9~zt-a.istio-system~x".to_owned();
    let first = DeltaDiscoveryRequest {
        node: Some(Node { id, metadata: Some(metadata), ..Node::default() }),
        type_url: ADDRESS_TYPE.to_owned(),
        ..DeltaDiscoveryRequest::default()
    };
    let (requests, stream) = mpsc::channel(1);
    requests.send(first).await.unwrap();
    let mut request = Request::new(ReceiverStream::new(stream));
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let mut client = AggregatedDiscoveryServiceClient::new(region.nobody()).max_decoding_message_size(64 * 1024 * 1024);
    match client.delta_aggregated_resources(request).await {
        Ok(answers) => answers.into_inner().message().await.err().map(|status| status.code()),
        Err(status) => Some(status.code()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_names_another_node_than_its_token_proves_is_refused() {
    let region = region("").serve().await;
    assert_eq!(on_node(&region, "node-b").await, Some(Code::PermissionDenied));
    for name in ["node-a", ""] {
        assert_eq!(on_node(&region, name).await, None, "{name:?}");
    }
    let log = std::fs::read_to_string(region.path("log")).unwrap();
    assert!(log.contains("NODE_NAME `node-b`"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_without_shared_state_say_the_same_and_a_client_that_moves_receives_nothing() {
    let first = region("").serve().await;
    let second = region("");
    // What an operator copies: the authority. Nothing else is shared.
    std::fs::create_dir(second.path("authority")).unwrap();
    for name in ["authority.json", "root-cert.pem"] {
        std::fs::copy(first.path("authority").join(name), second.path("authority").join(name)).unwrap();
    }
    let second = second.serve().await;
    // Their bodies: the heads carry the time of day.
    assert_eq!(first.json("/debug/resources"), second.json("/debug/resources"));
    let (dump, other) = (first.json("/config_dump"), second.json("/config_dump"));
    assert_eq!(dump["resources"][ADDRESS_TYPE].as_array().unwrap().len(), WORKLOADS + 1);
    assert_eq!(dump, other);

    let (proxy, told) = Proxy::come(first.nobody(), TOKEN, HashMap::new()).await.unwrap();
    assert_eq!(told.resources, WORKLOADS + 2);
    // By the same trust: what the one issued is believed by the other.
    let held = proxy.held.clone();
    drop(proxy);
    let (mut moved, told) = Proxy::come(second.nobody(), TOKEN, held.clone()).await.unwrap();
    assert_eq!(told, Told::default());
    let (_, told) = Proxy::come(first.endpoint_of(&second), TOKEN, held).await.unwrap();
    assert_eq!(told, Told::default(), "by the bundle of one, at the other");

    // It goes on there.
    second.write(
        "manifests/more.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: new, namespace: shop}\nspec: {clusterIP: 10.1.0.9, ports: [{port: 80}]}\n",
    );
    assert_eq!(moved.take().await.unwrap().resources, 1);
}

impl Region {
    /// A channel to another control plane, by the bundle of this one.
    fn endpoint_of(&self, other: &Self) -> Channel {
        let (_, bundles) = mesh_core::live::Publisher::new(self.bundles());
        let config = mesh_identity::tls::server_authenticated_client(
            bundles,
            support::server(),
            Arc::new(SystemClock),
            &[b"h2"],
        );
        other.endpoint(config.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_200_clients_sends_nothing_again() {
    let mut region = region("").serve().await;
    let come = |held: Vec<HashMap<String, HashMap<String, String>>>, region: &Region| {
        let all: Vec<_> =
            held.into_iter().map(|held| tokio::spawn(Proxy::come(region.nobody(), TOKEN, held))).collect();
        async move {
            let mut proxies = Vec::new();
            let mut sum = Told::default();
            for one in all {
                let (proxy, told) = one.await.unwrap().unwrap();
                sum = Told { resources: sum.resources + told.resources, bytes: sum.bytes + told.bytes };
                proxies.push(proxy);
            }
            (proxies, sum)
        }
    };
    let (proxies, first) = come(vec![HashMap::new(); 200], &region).await;
    assert_eq!(first.resources, 200 * (WORKLOADS + 2));
    assert_eq!(region.figure("clients_by_kind{kind=\"ztunnel\"}"), 200.0);
    let sent = region.figure("push_bytes_total{type=\"Address\"}");
    let held = proxies.iter().map(|proxy| proxy.held.clone()).collect();

    region.kill();
    drop(proxies);
    let region = region.serve().await;
    let began = std::time::Instant::now();
    let (_proxies, again) = come(held, &region).await;
    assert_eq!(again, Told::default(), "what they hold is what there is");
    let bytes: f64 = ["Address", "Authorization"]
        .map(|kind| region.figure(&format!("push_bytes_total{{type=\"{kind}\"}}")))
        .iter()
        .sum();
    println!(
        "200 clients, {} workloads: {sent} bytes at first, {bytes} after a restart, in {:?}",
        WORKLOADS,
        began.elapsed()
    );
    // The answers that say that there is nothing to say, and the server's name and nonces in them.
    assert!(bytes < 200.0 * 2.0 * 200.0 && sent > 100.0 * bytes, "{bytes} of {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_views_and_figures_tell_who_is_connected_and_how_far_behind() {
    let region = region("").serve().await;
    assert_eq!(text(&region.ask(&["proxies"])), "No proxy is connected.\n");
    let (mut proxy, _) = Proxy::come(region.nobody(), TOKEN, HashMap::new()).await.unwrap();
    let (other, _) = Proxy::come(region.nobody(), TOKEN, HashMap::new()).await.unwrap();
    let synced = || {
        let all = region.json("/debug/syncz");
        all[0]["types"][ADDRESS_TYPE]["status"] == "SYNCED" && all[1]["types"][ADDRESS_TYPE]["status"] == "SYNCED"
    };
    until("both have all", synced).await;
    let all = region.json("/debug/syncz");
    assert_eq!(all[0]["types"][ADDRESS_TYPE]["held"], json!(WORKLOADS + 1));
    assert_eq!(
        all[0]["types"][ADDRESS_TYPE]["version"], all[1]["types"][ADDRESS_TYPE]["version"],
        "they hold the same"
    );

    // One of them takes a change, the other rejects it.
    region.write(
        "manifests/more.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: new, namespace: shop}\nspec: {clusterIP: 10.1.0.9, ports: [{port: 80}]}\n",
    );
    proxy.take().await.unwrap();
    let mut other = other;
    let answer = other.answers.message().await.unwrap().unwrap();
    until("the other one alone is behind", || region.figure("clients_behind") == 1.0).await;
    let behind = |one: &&Value| one["behind_seconds"].is_number();
    assert_eq!(region.json("/debug/syncz").as_array().unwrap().iter().filter(behind).count(), 1);
    let rows = text(&region.ask(&["proxies"]));
    assert!(rows.lines().any(|row| row.contains("STALE") && row.contains("zt-a.istio-system")), "{rows}");
    other.say(&answer, Some("no room")).await;
    until("it is told of", || region.figure("rejections_total{type=\"Address\",kind=\"ztunnel\"}") == 1.0).await;
    assert_eq!(region.figure("rejections_total{type=\"Address\",kind=\"waypoint\"}"), 0.0);
    assert_eq!(region.figure("clients_behind"), 0.0, "it has answered");
    assert_eq!(region.figure("convergence_seconds_count"), 1.0);
    assert_eq!(region.figure("client_convergence_seconds_count"), 2.0);
    assert_eq!(region.figure("push_seconds_count{type=\"Address\"}"), 2.0);
    assert_eq!(region.figure("resources{type=\"Address\"}"), (WORKLOADS + 2) as f64);
    assert_eq!(region.figure("subscribers{type=\"Authorization\"}"), 2.0);
    assert_eq!(region.figure("source_state{source=\"directory\",state=\"taken\"}"), 1.0);
    assert!(region.figure("configuration_age_seconds") >= 0.0);
    let rows = text(&region.ask(&["proxies"]));
    assert!(rows.lines().any(|row| row.contains("ERROR") && row.ends_with("no room")), "{rows}");
    let machines: Value = serde_json::from_str(&text(&region.ask(&["proxies", "-o", "json"]))).unwrap();
    assert_eq!(machines.as_array().unwrap().len(), 2);
    let rejecting = machines.as_array().unwrap().iter().find(|one| one["types"][ADDRESS_TYPE]["status"] == "ERROR");
    let (of_other, of_proxy) = {
        let types = |one: &Value| one["types"][ADDRESS_TYPE].clone();
        let accepting =
            machines.as_array().unwrap().iter().find(|one| one["types"][ADDRESS_TYPE]["status"] == "SYNCED");
        (types(rejecting.unwrap()), types(accepting.unwrap()))
    };
    assert_eq!((&of_other["held"], &of_other["rejected"]), (&json!(WORKLOADS + 1), &json!(1)), "{of_other}");
    assert_eq!((&of_proxy["held"], &of_proxy["rejected"]), (&json!(WORKLOADS + 2), &json!(0)), "{of_proxy}");
    assert_ne!(of_other["version"], of_proxy["version"], "they hold different things");
    let nobody = text(&region.ask(&["proxies", "--proxy", "nobody"]));
    assert_eq!(nobody, "No proxy is connected.\n");

    let dump: Value =
        serde_json::from_str(&text(&region.ask(&["dump", "--type", "address", "--name", "shop/new."]))).unwrap();
    assert_eq!(dump.as_array().unwrap().len(), 1, "{dump}");
    assert_eq!(dump[0]["content"]["service"]["vips"], json!(["/10.1.0.9"]));
    let seen: Value =
        serde_json::from_str(&text(&region.ask(&["dump", "--proxy", "zt-a.istio-system", "--type", "Authorization"])))
            .unwrap();
    assert_eq!(seen["resources"][0]["content"]["namespace"], "shop", "{seen}");
    assert_eq!(seen["resources"][0]["standing"], "Synced");
    let rows = text(&region.ask(&["dump", "-o", "table", "--name", "Pod/shop/web-12"]));
    assert_eq!(rows.lines().filter(|row| row.starts_with("Address")).count(), 11, "12 and 120 to 129: {rows}");
    assert!(text(&region.ask(&["dump", "-o", "table", "--name", "nothing"])).contains("There is no such resource"));
    let wrong = region.ask(&["dump", "--proxy", "nobody"]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("`nobody` is not connected"));

    let endpoints = region.json("/debug/endpointz");
    assert_eq!(endpoints["shop/web.shop.svc.cluster.local"].as_array().unwrap().len(), WORKLOADS);
    assert_eq!(endpoints["shop/new.shop.svc.cluster.local"], json!([]));
    assert_eq!(region.json("/debug/authorizationz")[0]["name"], "open");
    let objects = region.json("/debug/configz");
    let policy = objects.as_array().unwrap().iter().find(|object| object["kind"] == "AuthorizationPolicy").unwrap();
    assert_eq!((&policy["name"], &policy["origin"]["file"]), (&json!("open"), &json!("mesh.yaml")));
    let index = region.get("/").unwrap();
    for page in ["syncz", "config_dump", "resources", "configz", "endpointz", "authorizationz", "connections"] {
        assert!(index.contains(&format!("/debug/{page}")), "{index}");
    }

    // Who is gone is not shown any more, and is behind for nothing.
    drop(other);
    until("one is left", || region.json("/debug/syncz").as_array().unwrap().len() == 1).await;
    let rows = text(&region.ask(&["proxies"]));
    assert!(!rows.contains("ERROR") && rows.contains("SYNCED"), "{rows}");
    assert_eq!(region.figure("clients "), 1.0);

    // What the directory says now is wrong: what it said before goes on, and somebody can see that.
    region.write("manifests/more.yaml", "apiVersion: v1\nkind: Service\nmetadata: [");
    until("it is refused", || region.figure("source_state{source=\"directory\",state=\"refused\"}") == 1.0).await;
    assert_eq!(region.figure("source_state{source=\"directory\",state=\"taken\"}"), 0.0);
    assert_eq!(region.figure("resources{type=\"Address\"}"), (WORKLOADS + 2) as f64);
}

#[tokio::test]
async fn a_certificate_for_tests_is_issued_from_the_files_of_an_authority() {
    let region = region("").serve().await;
    let issue = |authority: &str, id: &str, more: &[&str]| {
        let (authority, out) = (region.path(authority), region.path("out"));
        Command::new(BINARY)
            .args(["issue", "--authority", authority.to_str().unwrap(), "--spiffe-id", id])
            .args(["--out", out.to_str().unwrap()])
            .args(more)
            .output()
            .unwrap()
    };
    let before = std::fs::read(region.path("authority/authority.json")).unwrap();
    let id = "spiffe://cluster.local/ns/test/sa/me";
    let told = text(&issue("authority", id, &["--ttl", "600", "--dns", "me.test"]));
    assert_eq!(told.lines().count(), 1 + 3, "{told}");
    assert_eq!(std::fs::read(region.path("authority/authority.json")).unwrap(), before, "the authority is as it was");
    let pem =
        [std::fs::read(region.path("out/cert-chain.pem")).unwrap(), std::fs::read(region.path("out/key.pem")).unwrap()]
            .concat();
    let svid = X509Svid::from_pem(&pem).unwrap();
    assert_eq!(svid.id().to_string(), id);
    let left = svid.not_after().duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(600) && left > Duration::from_secs(500), "{left:?}");
    assert!(svid.chain()[0].windows(7).any(|part| part == b"me.test"));
    let peer = mesh_identity::verify::peer(
        Some(svid.chain()),
        &region.bundles(),
        mesh_identity::verify::Purpose::Client,
        SystemTime::now(),
    );
    assert_eq!(peer.unwrap().id(), svid.id(), "it verifies by what the control plane publishes");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(region.path("out/key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    for (what, output, told) in [
        ("another trust domain", issue("authority", "spiffe://other.test/ns/test/sa/me", &[]), "authority.json"),
        ("no identity", issue("authority", "cluster.local/me", &[]), "SPIFFE"),
        ("no authority", issue("manifests", id, &[]), "there is no authority"),
        ("too long", issue("authority", id, &["--ttl", "86401"]), "86401"),
    ] {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(told), "{what}: {error}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn processes_beside_it_get_their_identities_over_the_workload_api() {
    use mesh_identity::workload_api::{Client, Endpoint};

    let region = region("");
    let own = own_uid(&region);
    let entries = |id: &str| {
        let entry = json!({"spiffe_id": format!("spiffe://cluster.local{id}"), "parent_id": "spiffe://cluster.local/here",
            "selectors": [{"type": "unix", "value": format!("uid:{own}")}]});
        json!({"entries": [entry]}).to_string()
    };
    region.write("local.json", &entries("/dashboard"));
    let (socket, file) = (region.path("api.sock"), region.path("local.json"));
    region.settings(&format!("workload_api: {{socket: {}, entries: {}}}\n", socket.display(), file.display()));
    let region = region.serve().await;
    let source = Client::connect(&Endpoint::Unix(socket)).source(Arc::new(SystemClock));
    let identity = source.identity().await.unwrap();
    assert_eq!(identity.id().to_string(), "spiffe://cluster.local/dashboard");
    let chain = identity.state().load().svid.as_ref().unwrap().chain().to_vec();
    let now = SystemTime::now();
    mesh_identity::verify::peer(Some(&chain), &region.bundles(), mesh_identity::verify::Purpose::Client, now).unwrap();

    // Entries are followed, and who has none is told so.
    region.write("local.json", &entries("/bastion"));
    let told = || std::fs::read_to_string(region.path("log")).unwrap().contains("the file was read anew");
    until("the new entries are taken", told).await;
    let socket = Endpoint::Unix(region.path("api.sock"));
    let identity = Client::connect(&socket).source(Arc::new(SystemClock)).identity().await.unwrap();
    assert_eq!(identity.id().to_string(), "spiffe://cluster.local/bastion");
}

/// Our own user, as the owner of a directory that we made.
#[cfg(unix)]
fn own_uid(region: &Region) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(region.dir.path()).unwrap())
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&Command::new(BINARY).args(["completions", shell]).output().unwrap());
        for command in ["serve", "check", "proxies", "dump", "issue", "join-token", "token", "completions"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}
