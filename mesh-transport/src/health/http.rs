use http::header::{HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use mesh_core::balance::{HttpProbe, ProbeMethod, ProbeResult};
use mesh_core::route::Priority;

use super::ProbeTarget;
use crate::http::{Body, Client, SendError};

const AGENT: HeaderValue = HeaderValue::from_static("mesh/health");

/// Sends a request, and judges the answer.
pub(super) async fn probe(
    client: &Client<ProbeTarget>,
    target: &ProbeTarget,
    probe: &HttpProbe,
    authority: &str,
) -> ProbeResult {
    // What cannot be sent is a mistake of the configuration, and no answer can be good.
    let Some(request) = request(probe, authority) else { return ProbeResult::Failed };
    let mut response = match send(client, target, || request.clone().map(|()| probe.send.clone().into())).await {
        Ok(response) => response,
        Err(result) => return result,
    };
    let limit = probe.body_limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut body = Vec::new();
    while !probe.receive.is_empty() && body.len() < limit {
        match response.body_mut().frame().await {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                body.extend_from_slice(&data[..data.len().min(limit - body.len())]);
            }
            Some(Err(_)) => return ProbeResult::Unreachable,
            None => break,
        }
    }
    probe.judge(response.status(), response.headers(), &body)
}

/// Sends a probe. An endpoint that closes its connections in order is no worse for it, and is asked once more.
pub(super) async fn send(
    client: &Client<ProbeTarget>,
    target: &ProbeTarget,
    request: impl Fn() -> Request<Body>,
) -> Result<Response<Body>, ProbeResult> {
    let mut sent = client.send(target, Priority::Default, request()).await;
    if matches!(&sent, Err(failed) if matches!(failed.error, SendError::Refused(_))) {
        sent = client.send(target, Priority::Default, request()).await;
    }
    sent.map_err(|failed| {
        tracing::trace!(endpoint = %target.endpoint.address, error = %failed.error, "a probe got no answer");
        match failed.error {
            SendError::ConnectTimeout => ProbeResult::TimedOut,
            _ => ProbeResult::Unreachable,
        }
    })
}

fn request(probe: &HttpProbe, authority: &str) -> Option<Request<()>> {
    let path = if probe.path.is_empty() { "/" } else { probe.path.as_str() };
    let mut request = Request::new(());
    *request.method_mut() = method(probe.method);
    *request.uri_mut() = path.parse().ok()?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(authority).ok()?);
    headers.insert(USER_AGENT, AGENT);
    for (name, value) in &probe.headers {
        headers.append(HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_str(value.as_str()).ok()?);
    }
    for name in &probe.remove_headers {
        headers.remove(name.as_str());
    }
    Some(request)
}

const fn method(method: ProbeMethod) -> Method {
    match method {
        ProbeMethod::Get => Method::GET,
        ProbeMethod::Head => Method::HEAD,
        ProbeMethod::Post => Method::POST,
        ProbeMethod::Put => Method::PUT,
        ProbeMethod::Delete => Method::DELETE,
        ProbeMethod::Options => Method::OPTIONS,
        ProbeMethod::Trace => Method::TRACE,
        ProbeMethod::Patch => Method::PATCH,
    }
}
