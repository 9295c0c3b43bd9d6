use std::collections::HashMap;

use hyper_util::rt::TokioIo;
use mesh_core::name::{Locality, parse_spiffe_id, parse_trust_domain};
use mesh_identity::task::Tasks;
use mesh_xds::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use mesh_xds::server::{Access, Service, Settings};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Endpoint, Server};
use tonic::{Extensions, Status, Streaming};

use super::*;
use crate::admission::admit;
use crate::source::dir::SourceFile;

const WAYPOINT: &str = "spiffe://cluster.local/ns/shop/sa/waypoint";

fn manifests(services: usize) -> World {
    let mut text = String::from(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}\n\
         ---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: waypoint, namespace: shop}\n\
         spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata: {name: waypoint-1, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: waypoint}}\n\
         spec: {serviceAccountName: waypoint}\nstatus: {podIP: 10.0.0.100}\n",
    );
    for number in 0..services {
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: shop}}\n\
             spec: {{clusterIP: 10.1.0.{}, ports: [{{name: http, port: 80}}]}}\n",
            number + 1
        ));
    }
    admit(&[SourceFile { path: "a.yaml".into(), text: Ok(text) }]).unwrap().0
}

fn place() -> Place {
    Place::new(parse_trust_domain("cluster.local").unwrap(), "Kubernetes")
}

fn node(agent: &str) -> Node {
    Node {
        id: "waypoint~10.0.0.100~waypoint-1.shop~shop.svc.cluster.local".to_owned(),
        user_agent_name: agent.to_owned(),
        ..Node::default()
    }
}

/// Everybody is the waypoint.
#[derive(Debug)]
struct Everybody(Arc<Views>);

impl Access for Everybody {
    fn admit(&self, _: &MetadataMap, _: &Extensions) -> Result<String, Status> {
        Ok(WAYPOINT.to_owned())
    }

    fn view(&self, client: &str, node: &Node) -> Result<server::View, Status> {
        let cache = self.0.of(&parse_spiffe_id(client).unwrap(), node).map_err(Status::permission_denied)?;
        Ok(server::View { cache: Some(cache), ..server::View::default() })
    }
}

/// A stream that follows the clusters.
struct Instance {
    _requests: mpsc::Sender<DeltaDiscoveryRequest>,
    answers: Streaming<DeltaDiscoveryResponse>,
}

impl Instance {
    /// Comes with what it holds, and takes the first answer.
    async fn come(service: &Service, tasks: &Tasks, held: &HashMap<String, String>) -> (Self, DeltaDiscoveryResponse) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let incoming = tokio_stream::once(Ok::<_, std::io::Error>(far));
        let server = Server::builder().add_service(service.server()).serve_with_incoming(incoming);
        tasks.spawn(async move { server.await.unwrap() });
        let mut near = Some(TokioIo::new(near));
        let connector = tower::service_fn(move |_| {
            std::future::ready(near.take().ok_or_else(|| std::io::Error::other("one connection")))
        });
        let channel = Endpoint::from_static("http://peer").connect_with_connector(connector).await.unwrap();
        let (requests, stream) = mpsc::channel(4);
        let first = DeltaDiscoveryRequest {
            node: Some(node("")),
            type_url: CLUSTER_TYPE.to_owned(),
            initial_resource_versions: held.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let answers = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
        let mut instance = Self { _requests: requests, answers };
        let answer = instance.answers.message().await.unwrap().unwrap();
        (instance, answer)
    }
}

fn open(views: &Views) -> usize {
    views.state.lock().caches.len()
}

#[tokio::test(start_paused = true)]
async fn a_view_is_closed_when_nobody_has_used_it_for_some_time_and_comes_back_as_it_was() {
    let (tasks, views) = (Tasks::default(), Arc::new(Views::new(place())));
    views.publish(manifests(3), Instant::now(), |_, _| {});
    tasks.spawn(Arc::clone(&views).close_unused());
    let (_writer, nothing) = Cache::new(&[]);
    let service = Service::with(nothing, Arc::new(Everybody(Arc::clone(&views))), Settings::default());
    let (mut instance, first) = Instance::come(&service, &tasks, &HashMap::new()).await;
    let mut held: HashMap<_, _> = first.resources.into_iter().map(|one| (one.name, one.version)).collect();
    assert!(held.len() >= 3, "{held:?}");

    tokio::time::sleep(UNUSED * 3).await;
    assert_eq!(open(&views), 1, "it is used");
    views.publish(manifests(4), Instant::now(), |_, _| {});
    let more = instance.answers.message().await.unwrap().unwrap().resources;
    assert_eq!(more.len(), 1, "and follows what changes");
    held.extend(more.into_iter().map(|one| (one.name, one.version)));

    drop(instance);
    tokio::time::sleep(UNUSED / 2).await;
    assert_eq!(open(&views), 1);
    let (instance, again) = Instance::come(&service, &tasks, &held).await;
    assert!(again.resources.is_empty(), "it holds all");
    drop(instance);
    tokio::time::sleep(UNUSED * 8 / 10).await;
    assert_eq!(open(&views), 1, "counted from when it was used last");
    tokio::time::sleep(UNUSED / 2).await;
    assert_eq!(open(&views), 0);
    // What changes now is nobody's.
    assert_eq!(views.publish(manifests(5), Instant::now(), |_, _| {}).0, 0);
    views.publish(manifests(4), Instant::now(), |_, _| {});

    let (_instance, back) = Instance::come(&service, &tasks, &held).await;
    assert!(back.resources.is_empty() && back.removed_resources.is_empty(), "{back:?}");
    assert_eq!(open(&views), 1);
    tasks.stop().await;
}

/// The types of which nothing is shown but their names.
fn unknown(shown: &serde_json::Value) -> Vec<String> {
    match shown {
        serde_json::Value::Object(fields) => match (fields.get("@type"), fields.get("bytes"), fields.len()) {
            (Some(url), Some(_), 2) => vec![url.to_string()],
            _ => fields.values().flat_map(unknown).collect(),
        },
        serde_json::Value::Array(values) => values.iter().flat_map(unknown).collect(),
        _ => Vec::new(),
    }
}

/// What is shown of resources needs to know all that may stand in an `Any`.
#[test]
fn all_that_waypoints_are_served_can_be_shown() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-waypoint");
    let mut count = 0;
    for directory in std::fs::read_dir(root).unwrap() {
        let files = crate::source::dir::read(&directory.unwrap().path()).unwrap();
        let (world, _) = admit(&files).unwrap();
        let views = Views::new(place());
        views.publish(world.clone(), Instant::now(), |_, _| {});
        let mut state = views.state.lock();
        let engine = state.engine.as_mut().unwrap();
        let keys: Vec<_> = world.gateways.iter().map(|(key, _)| key.clone()).collect();
        for waypoint in keys {
            let change = engine.open(&View { waypoint, locality: Locality::default(), role: Role::Waypoint });
            for flavour in [Flavour::Envoy, Flavour::Mesh] {
                let (clusters, listeners) = flavour.around(&views.place.trust_domain);
                let around = clusters.into_iter().map(|(_, bytes)| (CLUSTER_TYPE, bytes));
                let around = around.chain(listeners.into_iter().map(|(_, bytes)| (LISTENER_TYPE, bytes)));
                let own = resources(flavour, &change).into_iter().filter_map(|(url, change)| match change {
                    Change::Put(_, entry) => Some((url, entry.body.to_vec())),
                    Change::Remove(_) => None,
                });
                for (url, bytes) in around.chain(own) {
                    let shown = crate::show::content(url, &bytes);
                    assert!(shown.get("error").is_none() && shown["@type"] == url, "{shown:#}");
                    let unknown = unknown(&shown);
                    assert!(unknown.iter().all(|url| url.contains("/mesh.")), "{unknown:?} in {shown:#}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 100, "{count} resources");
}
