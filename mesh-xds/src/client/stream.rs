use bytes::Bytes;
use http_body::Body as HttpBody;
use mesh_core::report::chain;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::client::GrpcService;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Status};

use super::Demand;
use super::backoff::Backoff;
use super::machine::{Machine, Rejected, Update};
use crate::limits::MAX_MESSAGE_BYTES;
use crate::pb::discovery::DeltaDiscoveryRequest;
use crate::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;

/// Requests of ours that wait to be sent. One acknowledgement per response, and the server waits for it.
const REQUEST_QUEUE: usize = 16;

/// What is needed for a stream: a gRPC transport, and the headers that prove who we are. Asked anew for every stream, so
/// that a renewed token or a rebuilt channel is picked up.
pub trait Connect {
    /// The transport: any tower service for gRPC, such as a tonic channel.
    type Service: GrpcService<tonic::body::Body>;

    /// Makes a transport and headers.
    ///
    /// # Errors
    /// What is missing; the client tries again later.
    fn connect(&mut self) -> Result<(Self::Service, MetadataMap), Box<dyn std::error::Error + Send + Sync>>;
}

impl<S, F> Connect for F
where
    S: GrpcService<tonic::body::Body>,
    F: FnMut() -> Result<(S, MetadataMap), Box<dyn std::error::Error + Send + Sync>>,
{
    type Service = S;

    fn connect(&mut self) -> Result<(S, MetadataMap), Box<dyn std::error::Error + Send + Sync>> {
        self()
    }
}

/// Applies what a server says.
pub trait Handler {
    /// Applies an update and gives what is rejected of it. The update is acknowledged when this has returned.
    fn apply(&mut self, update: &Update) -> Vec<Rejected>;

    /// The type that is asked for on demand, and who demands; nobody by default.
    fn demand(&self) -> Option<(&'static str, Demand)> {
        None
    }

    /// The machine after an update, or after a stream has ended with an error.
    fn observe(&mut self, machine: &Machine, connected: bool, error: Option<String>);
}

/// Runs a client until it is cancelled: one stream after another, with back-off between them. On a broken stream the state
/// stays in use.
///
/// # Cancel safety
/// Dropping the future ends the stream; what was applied stays applied.
pub async fn run<C>(
    mut connect: C,
    mut machine: Machine,
    handler: &mut (impl Handler + Send),
    mut backoff: Backoff,
    cancel: CancellationToken,
) where
    C: Connect,
    C::Service: GrpcService<
            tonic::body::Body,
            ResponseBody: HttpBody<Data = Bytes, Error: Into<tonic::codegen::StdError> + Send> + Send + 'static,
        >,
{
    loop {
        let error = tokio::select! {
            () = cancel.cancelled() => return,
            error = stream(&mut connect, &mut machine, handler, &mut backoff) => error,
        };
        tracing::warn!(%error, "discovery stream ended");
        handler.observe(&machine, false, Some(error));
        let pause = backoff.next(fastrand::f64());
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One stream, from its opening to its end. Gives the reason of the end.
async fn stream<C>(
    connect: &mut C,
    machine: &mut Machine,
    handler: &mut (impl Handler + Send),
    backoff: &mut Backoff,
) -> String
where
    C: Connect,
    C::Service: GrpcService<
            tonic::body::Body,
            ResponseBody: HttpBody<Data = Bytes, Error: Into<tonic::codegen::StdError> + Send> + Send + 'static,
        >,
{
    let (service, metadata) = match connect.connect() {
        Ok(connected) => connected,
        Err(error) => return error.to_string(),
    };
    let (requests, queue) = mpsc::channel(REQUEST_QUEUE);
    // What was demanded while there was no stream goes out with the first request.
    let _ = demanded(handler.demand().as_ref(), machine);
    for request in machine.handle_connected() {
        if requests.send(request).await.is_err() {
            return "the stream could not be opened".to_owned();
        }
    }
    let request = Request::from_parts(metadata, Extensions::default(), ReceiverStream::new(queue));
    let mut client = AggregatedDiscoveryServiceClient::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let mut responses = match client.delta_aggregated_resources(request).await {
        Ok(responses) => responses.into_inner(),
        Err(status) => return text(&status),
    };
    let demand = handler.demand();
    loop {
        let message = tokio::select! {
            message = responses.message() => message,
            () = news(demand.as_ref()) => {
                for request in demanded(demand.as_ref(), machine) {
                    if requests.send(request).await.is_err() {
                        return "the stream takes no requests any more".to_owned();
                    }
                }
                continue;
            }
        };
        let response = match message {
            Ok(Some(response)) => response,
            Ok(None) => return "the server ended the stream".to_owned(),
            Err(status) => return text(&status),
        };
        backoff.reset();
        let Some(update) = machine.handle_response(response) else { continue };
        let rejected = handler.apply(&update);
        let answer = machine.handle_applied(&update, &rejected);
        let error = answer.error_detail.as_ref().map(|detail| detail.message.clone());
        if let Some(error) = &error {
            tracing::warn!(type_url = %update.type_url, %error, "discovery answer rejected in part");
        }
        handler.observe(machine, true, error);
        if let Some((_, demand)) = demand.as_ref().filter(|(url, _)| *url == update.type_url) {
            demand.answered(&update, &rejected);
        }
        if requests.send(answer).await.is_err() {
            return "the stream takes no requests any more".to_owned();
        }
    }
}

async fn news(demand: Option<&(&'static str, Demand)>) {
    match demand {
        Some((_, demand)) => demand.news().await,
        None => std::future::pending().await,
    }
}

fn demanded(demand: Option<&(&'static str, Demand)>, machine: &mut Machine) -> Vec<DeltaDiscoveryRequest> {
    let Some((type_url, demand)) = demand else { return Vec::new() };
    let (wanted, released) = demand.take();
    let requests = [machine.handle_release(type_url, &released), machine.handle_demand(type_url, wanted)];
    requests.into_iter().flatten().collect()
}

/// A status with what caused it.
fn text(status: &Status) -> String {
    let head = format!("{}: {}", status.code(), status.message());
    match std::error::Error::source(status) {
        Some(source) => format!("{head}: {}", chain(source)),
        None => head,
    }
}
