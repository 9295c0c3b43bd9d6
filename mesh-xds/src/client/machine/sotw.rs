use std::collections::HashSet;
use std::time::Instant;

use prost::{Message, Name};

use super::stream::Answer;
use super::{Interest, Machine, Update};
use crate::envoy::is_full_state;
use crate::pb::Any;
use crate::pb::discovery::{DiscoveryRequest, DiscoveryResponse, Resource};

impl Machine {
    pub(super) fn poll_sotw(&mut self, server: usize, index: usize, now: Instant) -> Option<DiscoveryRequest> {
        let subscription = &self.types[index];
        let on_stream = self.streams.get_mut(server)?.as_mut()?.of(index);
        let first = !on_stream.begun;
        let (nonce, error) = if first {
            // A first request that names nothing would ask for everything.
            if subscription.interest != Interest::All && subscription.names.is_empty() {
                return None;
            }
            on_stream.begin();
            (String::new(), None)
        } else if let Some(Answer { nonce, error }) = on_stream.answers.pop_front() {
            (nonce, error)
        } else if on_stream.changed {
            (on_stream.nonce.clone(), None)
        } else {
            return None;
        };
        // Every request says all that is wanted.
        let _ = on_stream.take_changes();
        let names: Vec<String> = subscription.names.iter().cloned().collect();
        let request = DiscoveryRequest {
            version_info: subscription.accepted.get(&server).cloned().unwrap_or_default(),
            node: first.then(|| self.node.clone()),
            resource_names: subscription.all_names(),
            type_url: subscription.type_url.clone(),
            response_nonce: nonce,
            error_detail: error,
            ..DiscoveryRequest::default()
        };
        self.expect(server, index, &names, now);
        Some(request)
    }

    pub(super) fn handle_sotw(
        &mut self,
        server: usize,
        response: DiscoveryResponse,
        name: impl Fn(&str, &[u8]) -> Option<String>,
    ) -> Option<Update> {
        let DiscoveryResponse { version_info, resources, type_url, nonce, resource_errors, .. } = response;
        let index = self.index(&type_url)?;
        let on_stream = self.on_stream(server, index).filter(|on_stream| on_stream.begun)?;
        on_stream.nonce.clone_from(&nonce);
        let mut update = Update { type_url, server: Some(server), nonce, ..Update::default() };
        let mut named = Vec::with_capacity(resources.len());
        for any in resources {
            match unwrap(any, &update.type_url, &version_info, &name) {
                Ok(resource) => named.push(resource),
                Err(fault) => update.faults.push(fault),
            }
        }
        self.take_errors(resource_errors, &mut update);
        // What a response of all resources does not hold is gone; unless one of them cannot be told, which may be the one.
        if is_full_state(&update.type_url) && update.faults.is_empty() {
            let there: HashSet<&str> = named.iter().map(|resource| resource.name.as_str()).collect();
            let in_trouble: HashSet<&str> = update.errors.iter().map(|(name, _)| name.as_str()).collect();
            let held = self.types[index].held.keys();
            let gone = held.filter(|name| !there.contains(name.as_str()) && !in_trouble.contains(name.as_str()));
            update.removed.extend(gone.cloned());
        }
        update.version = version_info;
        self.take(index, named, &mut update);
        Some(update)
    }
}

/// A resource with its name and version, which a wrapper may say.
fn unwrap(
    any: Any,
    type_url: &str,
    version: &str,
    name: impl Fn(&str, &[u8]) -> Option<String>,
) -> Result<Resource, String> {
    let of_wrapper = any.type_url.strip_prefix("type.googleapis.com/") == Some(&Resource::full_name());
    let mut resource = match of_wrapper {
        true => Resource::decode(any.value.as_slice()).map_err(|error| format!("a wrapped resource: {error}"))?,
        false => Resource { resource: Some(any), ..Resource::default() },
    };
    if let Some(body) = &resource.resource {
        if body.type_url != type_url {
            return Err(format!("a resource of type `{}`", body.type_url));
        }
        if resource.name.is_empty() {
            resource.name = name(type_url, &body.value).unwrap_or_default();
        }
    }
    if resource.name.is_empty() {
        return Err("a resource without a name".to_owned());
    }
    if resource.version.is_empty() {
        version.clone_into(&mut resource.version);
    }
    Ok(resource)
}
