use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, request};
use serde_json::{Map, Value};

use super::evaluate::{Known, Verified};
use super::place::strip;
use super::{METADATA, Provider, Token};
use crate::filter::Exchange;
use crate::name::Text;

/// Does to a request what the providers of its good tokens want: claims into headers and metadata, tokens out of the request.
pub(super) fn apply(head: &mut request::Parts, exchange: &mut Exchange, providers: &[Known], verified: &[Verified]) {
    for Verified { provider, place, token } in verified {
        let Some(Known { provider, .. }) = providers.get(*provider) else { continue };
        let written = write_headers(head, provider, token);
        if !provider.forward {
            strip(head, place);
        }
        if let Some(key) = &provider.header_in_metadata {
            exchange.metadata.set(METADATA, key.as_str(), Value::Object(token.header().clone()));
        }
        if let Some(key) = &provider.payload_in_metadata {
            exchange.metadata.set(METADATA, key.as_str(), Value::Object(normalized(provider, token.payload())));
        }
        if provider.clear_route_cache && (written || provider.payload_in_metadata.is_some()) {
            exchange.reroute();
        }
    }
}

/// Whether a claim was written.
fn write_headers(head: &mut request::Parts, provider: &Provider, token: &Token) -> bool {
    if let Some(header) = &provider.payload_header {
        let payload = token.encoded_payload();
        let padding = match payload.len() % 4 {
            2 if header.padded => "==",
            3 if header.padded => "=",
            _ => "",
        };
        if let Ok(value) = HeaderValue::try_from(format!("{payload}{padding}")) {
            head.headers.append(&header.name, value);
        }
    }
    let mut written = false;
    for claim in &provider.claim_headers {
        // A text that no header can carry is left out: the service sees none rather than another one.
        let value = find(token.payload(), &claim.claim).and_then(text).map(HeaderValue::try_from);
        if let Some(Ok(value)) = value {
            head.headers.append(&claim.header, value);
            written = true;
        }
    }
    written
}

fn find<'a>(payload: &'a Map<String, Value>, path: &[Text]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(payload.get(first.as_str())?, |value, key| value.as_object()?.get(key.as_str()))
}

/// A claim as a header carries it; `None` for what is empty.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => match number.as_f64() {
            // Envoy's form: whole numbers without a fraction, others with six digits of it.
            Some(float) if number.is_f64() && (float < 0.0 || float.fract() != 0.0) => format!("{float:.6}"),
            Some(float) if number.is_f64() => format!("{float:.0}"),
            _ => number.to_string(),
        },
        Value::Array(_) | Value::Object(_) => STANDARD.encode(value.to_string()),
    };
    Some(text).filter(|text| !text.is_empty())
}

fn normalized(provider: &Provider, payload: &Map<String, Value>) -> Map<String, Value> {
    let mut payload = payload.clone();
    for claim in &provider.space_delimited_claims {
        let Some(value) = payload.get_mut(claim.as_str()) else { continue };
        if let Value::String(text) = value {
            *value = text.split(' ').filter(|part| !part.is_empty()).collect();
        }
    }
    payload
}
