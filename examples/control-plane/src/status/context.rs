//! What all statuses are told from: what is attached to what, and how far each Gateway is.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::name::NamespacedName;

use super::addresses::{self, Reached};
use super::condition::{Conditions, Said};
use super::{Input, gateway};
use crate::attach::{Attachment, Backend, Route, Whole, attach};
use crate::finding::{Finding, Severity};
use crate::resource::{Gateway, Kind, Metadata, ObjectId};

/// Everything that was found out before anything is said.
pub(super) struct Context<'a> {
    pub(super) input: Input<'a>,
    pub(super) read: Whole<'a>,
    /// The Gateways that are ours.
    pub(super) gateways: BTreeMap<NamespacedName, Ours<'a>>,
    /// The Gateways through which each Service is reached.
    pub(super) through: BTreeMap<NamespacedName, BTreeSet<NamespacedName>>,
    /// What an object was refused for last, so that its last good version counts.
    refused: BTreeMap<&'a str, &'a Finding>,
}

/// A Gateway of ours.
pub(super) struct Ours<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) attachment: Attachment,
    pub(super) reached: Reached,
    pub(super) accepted: Said,
    pub(super) programmed: Said,
}

impl<'a> Context<'a> {
    pub(super) fn new(input: &Input<'a>) -> Self {
        let read = Whole::new(input.world, &input.place.cluster_domain);
        let mut gateways = BTreeMap::new();
        let instances = addresses::instances(input.world);
        for (key, (_, gateway)) in &input.world.gateways {
            let Some(attachment) = attach(&read, &input.place.controller, key) else { continue };
            let reached = addresses::reached(input, key, gateway, attachment.role, instances.get(key));
            let accepted = gateway::accepted(input.world, gateway, &attachment);
            let programmed = gateway::programmed(&accepted, &attachment, &reached);
            gateways.insert(key.clone(), Ours { gateway, attachment, reached, accepted, programmed });
        }
        let through = through(&read, &gateways);
        let errors = input.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let refused = errors.map(|finding| (finding.object.as_str(), finding)).collect();
        Self { input: *input, read, gateways, through, refused }
    }

    /// Conditions of an object, none yet.
    pub(super) fn conditions(&self, kind: Kind, metadata: &Metadata) -> Conditions {
        Conditions::of(self.generation(kind, metadata))
    }

    pub(super) fn generation(&self, kind: Kind, metadata: &Metadata) -> Option<i64> {
        self.input.generations.of(kind, metadata, &id(kind, metadata))
    }

    /// Why the newest version of an object is not the one that counts.
    pub(super) fn refused(&self, id: &ObjectId) -> Option<&'a Finding> {
        if self.refused.is_empty() { None } else { self.refused.get(id.to_string().as_str()).copied() }
    }
}

/// Which object metadata are of.
pub(super) fn id(kind: Kind, metadata: &Metadata) -> ObjectId {
    let namespace = if kind.is_namespaced() { metadata.namespace.as_str() } else { "" };
    ObjectId { kind, name: NamespacedName::new(namespace, metadata.name.as_str()) }
}

fn through(
    read: &Whole<'_>,
    gateways: &BTreeMap<NamespacedName, Ours<'_>>,
) -> BTreeMap<NamespacedName, BTreeSet<NamespacedName>> {
    let mut through: BTreeMap<NamespacedName, BTreeSet<NamespacedName>> = BTreeMap::new();
    if read.world().backend_tls.is_empty() {
        return through;
    }
    for (key, ours) in gateways {
        let accepted =
            ours.attachment.routes.iter().filter(|(_, parents)| parents.iter().any(|one| one.outcome.is_ok()));
        for route in accepted.filter_map(|(id, _)| Route::find(read, id)) {
            for (_, _, backend) in route.backends(read, true) {
                if let Ok(Backend::Service(service, _)) = backend {
                    through.entry(service).or_default().insert(key.clone());
                }
            }
        }
    }
    through
}
