//! Waypoints and other Gateways at the control plane as a process: each proves who it is, and gets what is its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::balance::{Assignment, Cluster};
use mesh_core::listener::{Listener, ListenerKind};
use mesh_core::name::parse_spiffe_id;
use mesh_core::route::RouteTable;
use mesh_core::tls::{Certificate, DataSource, Secret, SecretKind};
use mesh_identity::clock::SystemClock;
use mesh_identity::pem;
use mesh_identity::source::{CsrSource, Identities, TokenSource};
use mesh_test_support::pki::{Ca, Spec};
use mesh_xds::client::machine::{ServerTraits, Variant};
use mesh_xds::client::{Client, Group};
use mesh_xds::envoy::LISTENER_TYPE;
use mesh_xds::pb::Node;
use mesh_xds::pb::discovery::DiscoveryRequest;
use mesh_xds::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

use crate::support::{Region, server, until};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}
---
apiVersion: v1
kind: Namespace
metadata: {name: bank}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: bank}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Pod
metadata: {name: waypoint-1, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: waypoint}}
spec: {nodeName: node-a, serviceAccountName: waypoint}
status: {podIP: 10.0.0.100}
---
apiVersion: v1
kind: Pod
metadata: {name: waypoint-1, namespace: bank, labels: {gateway.networking.k8s.io/gateway-name: waypoint}}
spec: {nodeName: node-a, serviceAccountName: waypoint}
status: {podIP: 10.0.0.101}
---
apiVersion: v1
kind: Service
metadata: {name: carts, namespace: shop}
spec: {clusterIP: 10.1.0.1, selector: {app: carts}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: carts-1, namespace: shop, labels: {app: carts}}
spec: {nodeName: node-a, serviceAccountName: carts}
status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: "True"}]}
"#;

/// Where traffic enters: beside the others, with a certificate for its HTTPS.
const ENTRANCE: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec:
  gatewayClassName: istio
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: front}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all, namespace: shop}
spec: {parentRefs: [{name: front}], rules: [{backendRefs: [{name: carts, port: 80}]}]}
---
apiVersion: v1
kind: Secret
metadata: {name: front, namespace: shop}
stringData:
"#;

const ANOTHER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: carts-2, namespace: shop, labels: {app: carts}}
status: {podIP: 10.0.0.2, conditions: [{type: Ready, status: "True"}]}
"#;

/// A control plane that serves the manifests.
async fn serve() -> Region {
    let region = Region::new("cluster.local");
    region.write("manifests/mesh.yaml", MANIFESTS);
    region.write("token", TOKEN);
    let token = region.path("token");
    region.settings(&format!("nodes: [{{name: node-a, token_file: {}}}]\n", token.display()));
    region.serve().await
}

impl Region {
    /// A channel by the certificate of an identity, which the node's token is good for.
    async fn channel_of(&self, id: &str) -> Channel {
        let token = TokenSource::Fixed(TOKEN.into());
        let source = CsrSource::new(self.nobody(), token, Duration::from_secs(3600), Arc::new(SystemClock));
        let identities = Identities::builder(Arc::new(source), self.bundles()).build();
        let identity = identities.identity(&parse_spiffe_id(id).unwrap()).await.unwrap();
        self.endpoint(identity.client_config(server(), &[b"h2"]).unwrap())
    }
}

fn node(id: &str) -> Node {
    Node { id: id.to_owned(), ..Node::default() }
}

/// How a stream ends that begins with this node.
async fn refused(channel: Channel, node: Node) -> Option<Code> {
    let request = DiscoveryRequest { node: Some(node), type_url: LISTENER_TYPE.into(), ..DiscoveryRequest::default() };
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    sender.send(request).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    match client.stream_aggregated_resources(requests).await {
        Ok(answers) => answers.into_inner().message().await.err().map(|status| status.code()),
        Err(status) => Some(status.code()),
    }
}

const SHOP: &str = "waypoint~10.0.0.100~waypoint-1.shop~shop.svc.cluster.local";

#[tokio::test(flavor = "multi_thread")]
async fn a_waypoint_gets_what_is_its_own_and_nothing_else() {
    let running = serve().await;
    let shop = running.channel_of("spiffe://cluster.local/ns/shop/sa/waypoint").await;
    let bank = running.channel_of("spiffe://cluster.local/ns/bank/sa/waypoint").await;
    let carts = running.channel_of("spiffe://cluster.local/ns/shop/sa/carts").await;
    for (channel, id, expected) in [
        (&shop, SHOP, None),
        (&bank, "waypoint~10.0.0.101~waypoint-1.bank~bank.svc.cluster.local", None),
        // Of another namespace, of another account, of no waypoint, nobody at all.
        (&bank, SHOP, Some(Code::PermissionDenied)),
        (&carts, SHOP, Some(Code::PermissionDenied)),
        (&shop, "waypoint~10.0.0.1~carts-1.shop~shop.svc.cluster.local", None),
        (&carts, "waypoint~10.0.0.1~carts-1.shop~shop.svc.cluster.local", Some(Code::PermissionDenied)),
        (&shop, "ztunnel~10.0.0.100~waypoint-1.shop~shop.svc.cluster.local", Some(Code::PermissionDenied)),
        (&shop, "waypoint", Some(Code::PermissionDenied)),
        (&running.nobody(), SHOP, Some(Code::Unauthenticated)),
    ] {
        assert_eq!(refused(channel.clone(), node(id)).await, expected, "{id}");
    }

    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        let groups = vec![Group::new(vec![ServerTraits::new("cp", variant)])];
        let (client, driver) = Client::new(&node(SHOP), groups, BTreeMap::new(), SystemTime::now);
        let cancel = CancellationToken::new();
        let channel = shop.clone();
        let connect = move || Ok((channel.clone(), MetadataMap::new()));
        let run = tokio::spawn(driver.run(vec![vec![connect]], cancel.clone()));
        let listeners = client.watch_all::<Listener>();
        let clusters = client.watch_all::<Cluster>();
        let name = "inbound-vip|80|http|carts.shop.svc.cluster.local";
        let endpoints = client.watch::<Assignment>(name);
        let addresses = || -> Vec<String> {
            let assignment = endpoints.value();
            assignment.iter().flat_map(|all| all.endpoints()).map(|one| one.address.to_string()).collect()
        };
        until("everything is there", || {
            !listeners.values().is_empty() && !clusters.values().is_empty() && endpoints.value().is_some()
        })
        .await;
        let all = listeners.values();
        let [listener] = all.values().collect::<Vec<_>>()[..] else { panic!("{all:?}") };
        let ListenerKind::Internal(internal) = &listener.kind else { panic!("{listener:?}") };
        assert_eq!((listener.name.as_str(), internal.chains.len()), ("main_internal", 1));
        assert_eq!(clusters.values().keys().map(|name| name.to_string()).collect::<Vec<_>>(), [name]);
        assert_eq!(addresses(), ["10.0.0.1:80"]);

        running.write("manifests/more.yaml", ANOTHER);
        until("the new endpoint is there", || addresses().len() == 2).await;
        // What is bad changes nothing.
        running.write("manifests/more.yaml", "kind: HTTPRoute\nmetadata: [");
        until("it is told of", || running.get("/findings").is_some_and(|text| text.contains("more.yaml"))).await;
        assert_eq!(addresses().len(), 2);
        std::fs::remove_file(running.path("manifests/more.yaml")).unwrap();
        until("it is gone again", || addresses().len() == 1).await;
        cancel.cancel();
        run.await.unwrap();
    }
}

/// The Secret of the Gateway, with a certificate of its own.
fn entrance() -> (String, String) {
    let leaf = Ca::root("web.test").leaf(&Spec::new("spiffe://web.test/front"));
    let chain: String = leaf.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
    let key = pem::encode("PRIVATE KEY", leaf.key.secret_der());
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    (format!("{ENTRANCE}  tls.crt: |\n{}  tls.key: |\n{}", indented(&chain), indented(&key)), chain)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_gets_its_listeners_routes_and_secrets_and_nobody_else_does() {
    let running = serve().await;
    let (manifests, first) = entrance();
    running.write("manifests/front.yaml", &manifests);
    const FRONT: &str = "router~10.0.0.50~front-1.shop~shop.svc.cluster.local";
    let account = |name: &str| format!("spiffe://cluster.local/ns/shop/sa/{name}");
    // It runs nowhere yet, so the account that is meant for it counts; to have a certificate, it must run somewhere.
    running.write(
        "manifests/pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: front-1, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: front}}\nspec: {nodeName: node-a, serviceAccountName: front-istio}\nstatus: {podIP: 10.0.0.50}\n",
    );
    until("the pod is known", || running.get("/debug/world").is_some_and(|text| text.contains("front-1"))).await;
    let front = running.channel_of(&account("front-istio")).await;
    let waypoint = running.channel_of(&account("waypoint")).await;
    for (channel, id, expected) in [
        (&front, FRONT, None),
        (&waypoint, FRONT, Some(Code::PermissionDenied)),
        // A waypoint is no Gateway where traffic enters, nor the other way round, whoever says so.
        (&waypoint, "router~10.0.0.100~waypoint-1.shop~shop.svc.cluster.local", Some(Code::PermissionDenied)),
        (&front, "waypoint~10.0.0.50~front-1.shop~shop.svc.cluster.local", Some(Code::PermissionDenied)),
    ] {
        assert_eq!(refused(channel.clone(), node(id)).await, expected, "{id}");
    }

    let groups = vec![Group::new(vec![ServerTraits::new("cp", Variant::Delta)])];
    let (client, driver) = Client::new(&node(FRONT), groups, BTreeMap::new(), SystemTime::now);
    let cancel = CancellationToken::new();
    let connect = move || Ok((front.clone(), MetadataMap::new()));
    let run = tokio::spawn(driver.run(vec![vec![connect]], cancel.clone()));
    let listeners = client.watch_all::<Listener>();
    let plain = client.watch::<RouteTable>("http.80");
    let secret = client.watch::<Secret>("kubernetes-gateway://shop/front");
    let chain = || match secret.value()?.kind.clone() {
        SecretKind::Certificate(Certificate { chain: DataSource::Inline(bytes), .. }) => Some(bytes.to_vec()),
        other => panic!("{other:?}"),
    };
    until("everything is there", || {
        listeners.values().len() == 2 && plain.value().is_some() && chain() == Some(first.clone().into_bytes())
    })
    .await;
    assert_eq!(
        listeners.values().keys().map(|name| name.to_string()).collect::<Vec<_>>(),
        ["0.0.0.0_443", "0.0.0.0_80"]
    );
    let (manifests, second) = entrance();
    running.write("manifests/front.yaml", &manifests);
    until("the new certificate is there", || chain() == Some(second.clone().into_bytes())).await;
    cancel.cancel();
    run.await.unwrap();
}
