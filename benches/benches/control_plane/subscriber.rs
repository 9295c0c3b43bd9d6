//! Clients of the control plane.

use mesh_xds::pb::Node;
use mesh_xds::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::region::{Region, TOKEN};

/// A delta stream that accepts all that it is sent of one type.
pub struct Subscriber {
    type_url: &'static str,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    answers: Streaming<DeltaDiscoveryResponse>,
}

impl Subscriber {
    /// A node proxy: over TLS, by the token of its node. It asks for these names, or for everything.
    pub async fn node(region: &Region, type_url: &'static str, names: &[&str]) -> Self {
        let node = Node { id: "ztunnel~10.9.9.9~z.istio-system~x".into(), ..Node::default() };
        Self::open(region.nobody(), Some(TOKEN), node, type_url, names).await
    }

    /// An instance of a waypoint: over mutual TLS.
    pub async fn waypoint(channel: Channel, type_url: &'static str, names: &[&str]) -> Self {
        let node = Node { id: "waypoint~10.64.0.0~w-1.n0~n0.svc.cluster.local".into(), ..Node::default() };
        Self::open(channel, None, node, type_url, names).await
    }

    async fn open(channel: Channel, token: Option<&str>, node: Node, type_url: &'static str, names: &[&str]) -> Self {
        let (requests, stream) = mpsc::channel(4);
        let first = DeltaDiscoveryRequest {
            node: Some(node),
            type_url: type_url.to_owned(),
            resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(stream));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let answers = client.delta_aggregated_resources(request).await.unwrap().into_inner();
        Self { type_url, requests, answers }
    }

    /// Takes an answer. Gives how many resources it brought.
    pub async fn next(&mut self) -> usize {
        let answer = self.answers.message().await.unwrap().unwrap();
        let accepted = DeltaDiscoveryRequest {
            type_url: self.type_url.to_owned(),
            response_nonce: answer.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(accepted).await.unwrap();
        answer.resources.len()
    }

    /// Takes answers until so many resources have come.
    pub async fn take(mut self, resources: usize) -> Self {
        let mut come = 0;
        while come < resources {
            come += self.next().await;
        }
        self
    }
}
