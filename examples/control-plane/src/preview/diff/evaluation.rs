//! What clients see of one port in two worlds: asked once for all that nobody tells apart.

use std::collections::{BTreeMap, HashMap};

use mesh_core::string_match::Pattern;

use super::super::mesh::Mesh;
use super::super::outcome::Outcome;
use super::super::walk::{Client, Plan, Step};
use super::clients::Group;
use super::probes::Probes;
use super::shift::Shift;

/// By what clients of one port are told apart in one world.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Seen {
    /// One outcome for all requests.
    Flat(Outcome),
    /// One for each.
    ByRequest(Signature),
}

/// What waypoints see of a client.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Signature {
    /// The ways it has: by its vantage, in a world.
    ways: (usize, World),
    /// Which client it is, where a node proxy looks at it too.
    group: Option<usize>,
    patterns: Vec<bool>,
    ranges: Vec<bool>,
}

/// One of the two worlds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum World {
    Old,
    New,
}

/// The outcomes of one port.
pub(super) struct Evaluation<'p> {
    probes: &'p Probes,
    patterns: &'p [Pattern],
    /// The number of what is seen.
    known: HashMap<Seen, usize>,
    /// By number: one outcome for all requests, or one for each.
    outcomes: Vec<Vec<Outcome>>,
}

impl<'p> Evaluation<'p> {
    /// Nobody has seen anything yet.
    pub(super) fn new(probes: &'p Probes, patterns: &'p [Pattern]) -> Self {
        Self { probes, patterns, known: HashMap::new(), outcomes: Vec::new() }
    }

    /// The number of what a client sees by some of its ways.
    pub(super) fn see(
        &mut self,
        mesh: &Mesh,
        plan: &Plan<'_>,
        (group, world): (&Group, World),
        number: usize,
    ) -> usize {
        let (client, traits) = match world {
            World::Old => (&group.old, &group.old_traits),
            World::New => (&group.new, &group.new_traits),
        };
        let is_waypoint = |step: &Step<'_>| matches!(step, Step::Waypoint { .. });
        if !plan.steps.iter().any(is_waypoint) {
            let outcome = mesh.judge_by(plan, client, None);
            let seen = Seen::Flat(outcome.clone());
            return self.known.get(&seen).copied().unwrap_or_else(|| self.number(seen, vec![outcome]));
        }
        let mixed = plan.steps.iter().any(|step| matches!(step, Step::Node(_)));
        let seen = Seen::ByRequest(Signature {
            ways: (group.vantage, world),
            group: mixed.then_some(number),
            patterns: self.patterns.iter().map(|pattern| fits(pattern, client)).collect(),
            ranges: traits.ranges.clone(),
        });
        if let Some(number) = self.known.get(&seen) {
            return *number;
        }
        let outcomes = self.probes.all.iter().map(|probe| mesh.judge_by(plan, client, probe.as_ref())).collect();
        self.number(seen, outcomes)
    }

    fn number(&mut self, seen: Seen, outcomes: Vec<Outcome>) -> usize {
        let number = self.outcomes.len();
        self.outcomes.push(outcomes);
        self.known.insert(seen, number);
        number
    }

    /// What happens to which requests, by number.
    pub(super) fn shifts(&self, old: usize, new: usize) -> BTreeMap<Shift, Vec<u16>> {
        let mut shifts: BTreeMap<Shift, Vec<u16>> = BTreeMap::new();
        for at in 0..self.probes.all.len() {
            if let (Some(old), Some(new)) = (self.outcome(old, at), self.outcome(new, at))
                && let Some(shift) = Shift::between(old, new)
            {
                shifts.entry(shift).or_default().extend(u16::try_from(at));
            }
        }
        shifts
    }

    fn outcome(&self, seen: usize, at: usize) -> Option<&Outcome> {
        let outcomes = self.outcomes.get(seen)?;
        if outcomes.len() == 1 { outcomes.first() } else { outcomes.get(at) }
    }
}

fn fits(pattern: &Pattern, client: &Client) -> bool {
    client.uris().iter().any(|uri| pattern.is_match(uri.as_str()))
}
