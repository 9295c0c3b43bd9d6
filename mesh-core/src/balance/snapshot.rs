//! Which endpoints take part at the moment, with what weight. Made anew when an endpoint, its health or a setting changes;
//! read without waiting by everybody who picks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use super::assignment::Drop;
use super::circuit::Circuit;
use super::member::Member;
use super::pick::PickError;
use super::picker::Ask;
use super::policy::Localities;
use super::spread::{Condition, Place, Spread, Terms};
use super::subset::Division;
use crate::route::Subset;

#[derive(Debug)]
pub(super) struct Snapshot {
    drops: Box<[Drop]>,
    chosen: Chosen,
    pub(super) circuit: Circuit,
    /// Whether the hash of a request decides anything.
    pub(super) hashes: bool,
    healthy: Box<[Arc<Member>]>,
    /// Made when the first request asks for an endpoint by its address: most clusters have none that do.
    by_address: OnceLock<HashMap<SocketAddr, usize>>,
}

/// What a request chooses from.
#[derive(Debug)]
enum Chosen {
    All(Spread),
    Subset(Division),
}

impl Snapshot {
    /// The places must be in the order of their priorities.
    pub(super) fn new(
        places: &[Place<'_>],
        terms: Terms<'_>,
        drops: &[Drop],
        circuit: Circuit,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let chosen = match &terms.cluster.subsets {
            Some(settings) => {
                // Inside of subsets weights of localities count only if they are said to.
                let localities = match terms.localities {
                    Localities::Weighted if !settings.locality_weights.count() => Localities::default(),
                    localities => localities,
                };
                Chosen::Subset(Division::new(settings, places, Terms { localities, ..terms }, rng))
            }
            None => Chosen::All(Spread::new(places, terms, rng)),
        };
        let members = places.iter().flat_map(|place| place.members);
        let healthy = members.filter(|(_, condition)| *condition == Condition::Healthy);
        Self {
            drops: drops.into(),
            chosen,
            circuit,
            hashes: terms.cluster.policy.hashes(),
            healthy: healthy.map(|(member, _)| Arc::clone(member)).collect(),
            by_address: OnceLock::new(),
        }
    }

    /// The category that the request is dropped under, if it is one of those that are dropped.
    pub(super) fn dropped(&self, rng: &mut fastrand::Rng) -> Option<&Drop> {
        self.drops.iter().find(|drop| rng.u32(..1_000_000) < drop.share.value())
    }

    /// The endpoint at an address, if it is healthy.
    pub(super) fn healthy(&self, address: SocketAddr) -> Option<&Arc<Member>> {
        let index = || self.healthy.iter().enumerate().map(|(at, member)| (member.address(), at)).collect();
        self.healthy.get(*self.by_address.get_or_init(index).get(&address)?)
    }

    pub(super) fn choose(&self, subset: Option<&Subset>, ask: &mut Ask<'_>) -> Result<&Arc<Member>, PickError> {
        match &self.chosen {
            Chosen::All(all) => all.choose(ask),
            Chosen::Subset(division) => division.choose(subset, ask),
        }
    }
}
