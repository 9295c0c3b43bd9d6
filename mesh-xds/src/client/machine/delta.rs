use std::collections::HashSet;
use std::time::Instant;

use super::stream::Answer;
use super::subscription::Held;
use super::{Machine, NOT_FOUND, Update};
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource, ResourceError};

impl Machine {
    pub(super) fn poll_delta(&mut self, server: usize, index: usize, now: Instant) -> Option<DeltaDiscoveryRequest> {
        let subscription = &self.types[index];
        let on_stream = self.streams.get_mut(server)?.as_mut()?.of(index);
        let type_url = || subscription.type_url.clone();
        if !on_stream.begun {
            if !subscription.is_wanted() {
                return None;
            }
            on_stream.begin();
            let traits = &self.servers[server];
            let known = |held: &Held| match held.server.and_then(|from| self.servers.get(from)) {
                Some(from) if traits.shares_versions(from) => held.version.clone(),
                // Another server's version could be the name of other content here; without one it is sent again.
                _ => String::new(),
            };
            let (subscribe, unsubscribe) = subscription.first_names();
            let request = DeltaDiscoveryRequest {
                node: Some(self.node.clone()),
                type_url: type_url(),
                initial_resource_versions: subscription
                    .held
                    .iter()
                    .map(|(name, held)| (name.clone(), known(held)))
                    .collect(),
                resource_names_subscribe: subscribe,
                resource_names_unsubscribe: unsubscribe,
                ..DeltaDiscoveryRequest::default()
            };
            let names: Vec<String> = subscription.names.iter().cloned().collect();
            self.expect(server, index, &names, now);
            return Some(request);
        }
        // Never both in one: there are servers that take a change within an acknowledgement for a broken protocol.
        if let Some(Answer { nonce, error }) = on_stream.answers.pop_front() {
            return Some(DeltaDiscoveryRequest {
                type_url: type_url(),
                response_nonce: nonce,
                error_detail: error,
                ..DeltaDiscoveryRequest::default()
            });
        }
        let (subscribe, unsubscribe) = on_stream.take_changes()?;
        let type_url = type_url();
        self.expect(server, index, &subscribe, now);
        Some(DeltaDiscoveryRequest {
            type_url,
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            ..DeltaDiscoveryRequest::default()
        })
    }

    pub(super) fn handle_delta(&mut self, server: usize, response: DeltaDiscoveryResponse) -> Option<Update> {
        let DeltaDiscoveryResponse { type_url, resources, removed_resources, nonce, resource_errors, .. } = response;
        let index = self.index(&type_url)?;
        let on_stream = self.on_stream(server, index).filter(|on_stream| on_stream.begun)?;
        on_stream.nonce.clone_from(&nonce);
        let mut update =
            Update { type_url, removed: removed_resources, server: Some(server), nonce, ..Update::default() };
        self.take(index, resources, &mut update);
        self.take_errors(resource_errors, &mut update);
        Some(update)
    }

    /// Sorts resources into what must be applied and what is wrong with the response.
    pub(super) fn take(&self, index: usize, resources: Vec<Resource>, update: &mut Update) {
        let mut seen = HashSet::with_capacity(resources.len());
        let mut twice = HashSet::new();
        for resource in &resources {
            if !seen.insert(resource.name.as_str()) {
                twice.insert(resource.name.clone());
            }
        }
        let subscription = &self.types[index];
        for resource in resources {
            if twice.contains(&resource.name) || !subscription.covers(&resource) {
                continue;
            }
            let held = subscription.held.get(&resource.name);
            match &resource.resource {
                Some(_) => update.upserts.push(resource),
                // Without a body it says only that the resource lives at the version that is held.
                None if held.is_some_and(|held| held.version == resource.version) => update.heartbeats.push(resource),
                // Its time passed here already, and it is asked for again.
                None if held.is_none() && resource.ttl.is_some() => {}
                None => update.upserts.push(resource),
            }
        }
        update.faults.extend(twice.into_iter().map(|name| format!("{name}: is there twice")));
    }

    pub(super) fn take_errors(&self, errors: Vec<ResourceError>, update: &mut Update) {
        let mut removed: HashSet<String> = update.removed.iter().cloned().collect();
        for error in errors {
            let name = error.resource_name.map(|name| name.name).unwrap_or_default();
            match error.error_detail {
                Some(status) if status.code != NOT_FOUND => update.errors.push((name, status)),
                _ => {
                    if removed.insert(name.clone()) {
                        update.removed.push(name);
                    }
                }
            }
        }
    }
}
