//! Which endpoints come first by where they are.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use mesh_core::balance::{Endpoint, LocalityEndpoints};
use mesh_core::name::Locality;
use mesh_core::service::{Mode, Scope, Service};

use super::destination::Settings;
use crate::resource::{Distribute, Failover};
use crate::translate::Place;
use crate::translate::facts::Located;

/// How the endpoints of a cluster are ordered.
pub(super) enum Order<'a> {
    /// Not at all.
    None,
    /// The nearer by locality come first.
    Near(&'a [Failover]),
    /// Those come first that share the most of what stands first in this list.
    Shared(Vec<Shared<'a>>),
    /// By shares.
    Distribute(&'a [Distribute]),
}

/// Something that an endpoint may share with a waypoint.
pub(super) enum Shared<'a> {
    Region,
    Zone,
    Subzone,
    Network,
    Cluster,
    /// A label with a value, whatever the waypoint has.
    Label(&'a str, &'a str),
    /// Something that a waypoint does not have.
    Nothing,
}

impl<'a> Order<'a> {
    /// What a rule says counts before what the service says, and that before what holds in every mesh: that the nearer come
    /// first, if there is something that finds out that they fail.
    pub(super) fn of(settings: &Settings<'a>, service: &Service) -> Self {
        let setting = settings.load_balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref());
        if let Some(setting) = setting {
            return match settings.outliers {
                _ if setting.enabled == Some(false) => Self::None,
                _ if !setting.distribute.is_empty() => Self::Distribute(&setting.distribute),
                None => Self::None,
                Some(_) if !setting.failover_priority.is_empty() => {
                    Self::Shared(setting.failover_priority.iter().map(|label| shared_label(label)).collect())
                }
                Some(_) => Self::Near(&setting.failover),
            };
        }
        let balancing = &service.load_balancing;
        if balancing.mode == Mode::Failover {
            return Self::Shared(balancing.preference.iter().map(|scope| shared_scope(*scope)).collect());
        }
        if settings.outliers.is_some() { Self::Near(&[]) } else { Self::None }
    }

    /// Whether the weights of localities count.
    pub(super) fn is_weighted(&self, own: &Locality) -> bool {
        self.shares(own).is_some()
    }

    fn shares(&self, own: &Locality) -> Option<&'a BTreeMap<String, u32>> {
        let Self::Distribute(list) = self else { return None };
        list.iter().find(|one| covers(&one.from, own)).map(|one| &one.to)
    }

    /// The endpoints in their places, as a waypoint sees them that is somewhere.
    pub(super) fn arrange<A>(
        &self,
        place: &Place,
        own: &Locality,
        endpoints: Vec<(&Located, Endpoint<A>)>,
    ) -> Vec<LocalityEndpoints<A>> {
        let mut places: BTreeMap<(u32, Locality), Vec<Endpoint<A>>> = BTreeMap::new();
        for (located, endpoint) in endpoints {
            let priority = self.priority(place, own, located);
            places.entry((priority, located.workload.locality.clone())).or_default().push(endpoint);
        }
        let mut arranged: Vec<LocalityEndpoints<A>> = Vec::new();
        let (mut last, mut level) = (None, 0);
        for ((priority, locality), endpoints) in places {
            // There are no gaps.
            level += u32::from(last.is_some_and(|last| last != priority));
            last = Some(priority);
            let weight = sum(&endpoints);
            arranged.push(LocalityEndpoints { locality, priority: level, weight: NonZeroU32::new(weight), endpoints });
        }
        if let Some(shares) = self.shares(own) {
            distribute(shares, &mut arranged);
        }
        arranged
    }

    fn priority(&self, place: &Place, own: &Locality, located: &Located) -> u32 {
        let workload = &located.workload;
        let there = &workload.locality;
        match self {
            Self::None | Self::Distribute(_) => 0,
            Self::Near(_) if own.is_empty() => 0,
            Self::Near(failover) => {
                let fails_over = failover.iter().find(|one| own.region == *one.from).map(|one| one.to.as_str());
                match () {
                    () if own == there => 0,
                    () if own.region == there.region && own.zone == there.zone => 1,
                    () if own.region == there.region => 2,
                    () if fails_over.is_none_or(|to| there.region == *to) => 3,
                    () => 4,
                }
            }
            Self::Shared(list) => {
                let shares = |shared: &&Shared<'_>| match shared {
                    Shared::Region => own.region == there.region,
                    Shared::Zone => own.zone == there.zone,
                    Shared::Subzone => own.subzone == there.subzone,
                    Shared::Network => workload.network == *place.network,
                    Shared::Cluster => workload.cluster_id == *place.cluster_id,
                    Shared::Label(key, value) => {
                        let label = located.labels.get().and_then(|labels| labels.get(*key));
                        label.is_some_and(|label| label == value)
                    }
                    Shared::Nothing => false,
                };
                let common = list.iter().take_while(shares).count();
                u32::try_from(list.len() - common).unwrap_or(u32::MAX)
            }
        }
    }
}

fn shared_label(label: &str) -> Shared<'_> {
    match label {
        "topology.kubernetes.io/region" => Shared::Region,
        "topology.kubernetes.io/zone" => Shared::Zone,
        "topology.istio.io/subzone" => Shared::Subzone,
        "topology.istio.io/network" => Shared::Network,
        "topology.istio.io/cluster" => Shared::Cluster,
        other => other.split_once('=').map_or(Shared::Nothing, |(key, value)| Shared::Label(key, value)),
    }
}

fn shared_scope(scope: Scope) -> Shared<'static> {
    match scope {
        Scope::Region => Shared::Region,
        Scope::Zone => Shared::Zone,
        Scope::Subzone => Shared::Subzone,
        Scope::Network => Shared::Network,
        Scope::Cluster => Shared::Cluster,
        _ => Shared::Nothing,
    }
}

/// Whether a locality is what a pattern such as `region/zone/*` or `*` covers.
fn covers(pattern: &str, locality: &Locality) -> bool {
    let mut parts = [&locality.region, &locality.zone, &locality.subzone].into_iter();
    for wanted in pattern.split('/') {
        match parts.next() {
            _ if wanted == "*" => return true,
            Some(part) if *part == *wanted => {}
            _ => return false,
        }
    }
    true
}

/// Shares that are finer than a percent, so that they can be divided by weight.
const SCALE: u64 = 10_000;

/// Gives each locality its part of the share of the pattern that covers it; one that none covers gets nothing.
fn distribute<A>(shares: &BTreeMap<String, u32>, arranged: &mut Vec<LocalityEndpoints<A>>) {
    let pattern_of = |locality: &Locality| {
        // The longest pattern is the most exact one.
        let covering = shares.keys().filter(|pattern| covers(pattern, locality));
        covering.max_by_key(|pattern| pattern.len())
    };
    let mut totals: BTreeMap<&String, u64> = BTreeMap::new();
    for one in arranged.iter() {
        if let Some(pattern) = pattern_of(&one.locality) {
            *totals.entry(pattern).or_default() += u64::from(sum(&one.endpoints));
        }
    }
    arranged.retain_mut(|one| {
        let Some(pattern) = pattern_of(&one.locality) else { return false };
        let share = u64::from(shares.get(pattern).copied().unwrap_or(0)) * SCALE;
        let total = totals.get(pattern).copied().unwrap_or(1).max(1);
        let weight = share * u64::from(sum(&one.endpoints)) / total;
        one.weight = NonZeroU32::new(u32::try_from(weight).unwrap_or(u32::MAX));
        one.weight.is_some()
    });
}

fn sum<A>(endpoints: &[Endpoint<A>]) -> u32 {
    endpoints.iter().fold(0, |sum: u32, endpoint| sum.saturating_add(endpoint.weight.get()))
}
