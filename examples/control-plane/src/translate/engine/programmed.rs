use std::collections::{BTreeMap, BTreeSet};

use mesh_core::name::{Locality, NamespacedHostname};

use crate::translate::waypoint::{Assembled, Direct, Part, assemble};

/// A waypoint that somebody looks at.
#[derive(Debug, Default)]
pub(super) struct Programmed {
    /// Where its instances are.
    pub(super) localities: BTreeSet<Locality>,
    /// Whether it was computed before.
    pub(super) is_begun: bool,
    pub(super) assembled: Assembled,
    /// By service that it serves.
    parts: BTreeMap<NamespacedHostname, Option<Part>>,
    direct: Option<Direct>,
}

impl Programmed {
    /// Sets which services it serves. Gives those that are so no more, and those that are so from now on.
    pub(super) fn set_services(
        &mut self,
        services: Vec<NamespacedHostname>,
    ) -> (Vec<NamespacedHostname>, Vec<NamespacedHostname>) {
        let services: BTreeSet<NamespacedHostname> = services.into_iter().collect();
        let gone: Vec<_> = self.parts.keys().filter(|key| !services.contains(*key)).cloned().collect();
        for key in &gone {
            self.parts.remove(key);
        }
        let come: Vec<_> = services.into_iter().filter(|key| !self.parts.contains_key(key)).collect();
        self.parts.extend(come.iter().map(|key| (key.clone(), None)));
        (gone, come)
    }

    /// The services that it serves.
    pub(super) fn services(&self) -> impl Iterator<Item = &NamespacedHostname> {
        self.parts.keys()
    }

    /// Sets the part of a service. Whether that makes a difference.
    pub(super) fn set_part(&mut self, service: &NamespacedHostname, part: Option<Part>) -> bool {
        let Some(place) = self.parts.get_mut(service).filter(|place| **place != part) else { return false };
        *place = part;
        true
    }

    /// Sets the part of what is addressed to workloads. Whether that makes a difference.
    pub(super) fn set_direct(&mut self, direct: Option<Direct>) -> bool {
        let differs = self.direct != direct;
        self.direct = direct;
        differs
    }

    /// Puts the parts together.
    pub(super) fn assemble(&self) -> Assembled {
        assemble(self.parts.values().flatten(), self.direct.as_ref())
    }
}
