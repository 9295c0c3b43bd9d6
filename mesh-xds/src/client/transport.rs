//! What streams are made of.

use std::future::ready;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt};
use http_body::Body as HttpBody;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request as Call, Status};
use tower::util::BoxService;
use tower::{Service, ServiceExt};

use super::machine::{Request, Response, Variant};
use crate::limits::MAX_MESSAGE_BYTES;
use crate::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is needed for a stream: a gRPC transport, and the headers that prove who we are. Asked anew for every stream, so
/// that a renewed token or a rebuilt channel is picked up.
///
/// How long a connection may take to be made is the transport's matter; one without a limit delays the next server.
pub trait Connect: Send {
    /// The transport: any tower service for gRPC, such as a tonic channel.
    type Service: Transport;

    /// Makes a transport and headers.
    ///
    /// # Errors
    /// What is missing; the client tries again later.
    fn connect(&mut self) -> Result<(Self::Service, MetadataMap), BoxError>;
}

impl<S, F> Connect for F
where
    S: Transport,
    F: FnMut() -> Result<(S, MetadataMap), BoxError> + Send,
{
    type Service = S;

    fn connect(&mut self) -> Result<(S, MetadataMap), BoxError> {
        self()
    }
}

/// A gRPC transport that streams may be made of. Implemented for every service that can be one.
pub trait Transport {
    /// The transport with its type forgotten.
    fn boxed(self) -> BoxTransport;
}

/// A gRPC transport of any type.
pub type BoxTransport = BoxService<http::Request<Body>, http::Response<Body>, Status>;

impl<S, B> Transport for S
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error: Into<BoxError>, Future: Send> + Send + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn boxed(self) -> BoxTransport {
        let service = self.map_response(|response: http::Response<B>| response.map(Body::new));
        BoxService::new(service.map_err(|error: S::Error| Status::from_error(error.into())))
    }
}

pub(super) type Responses = BoxStream<'static, Result<Response, Status>>;

/// Opens a stream of one variant.
pub(super) fn open(
    transport: BoxTransport,
    variant: Variant,
    metadata: MetadataMap,
    requests: impl Stream<Item = Request> + Send + 'static,
) -> BoxFuture<'static, Result<Responses, Status>> {
    let mut client = AggregatedDiscoveryServiceClient::new(transport).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let none = Extensions::default();
    match variant {
        Variant::Delta => {
            let requests = requests.filter_map(|request| ready(request.delta()));
            let call = Call::from_parts(metadata, none, requests);
            async move {
                let responses = client.delta_aggregated_resources(call).await?.into_inner();
                Ok(responses.map(|response| response.map(Response::Delta)).boxed())
            }
            .boxed()
        }
        Variant::StateOfTheWorld => {
            let requests = requests.filter_map(|request| ready(request.state_of_the_world()));
            let call = Call::from_parts(metadata, none, requests);
            async move {
                let responses = client.stream_aggregated_resources(call).await?.into_inner();
                Ok(responses.map(|response| response.map(Response::StateOfTheWorld)).boxed())
            }
            .boxed()
        }
    }
}
