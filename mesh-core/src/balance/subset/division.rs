use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::assignment::{Endpoint, EndpointValue};
use super::super::member::Member;
use super::super::pick::PickError;
use super::super::picker::Ask;
use super::super::spread::{Condition, Place, Spread, Terms};
use super::settings::{LocalityWeights, SelectorFallback, SubsetFallback, SubsetSettings};
use crate::name::Text;
use crate::route::{MetadataValue, Subset};

/// Endpoints, divided. Each subset has pickers of its own, which are made when it is: looking one up allocates nothing.
#[derive(Debug)]
pub(in crate::balance) struct Division {
    groups: Box<[Group]>,
    fallback: SubsetFallback,
    /// All endpoints, if anything falls back to them.
    any: Option<Spread>,
    /// The default subset, if anything falls back to it.
    default: Option<Spread>,
    panic_any: bool,
    redundant_keys: bool,
}

/// The subsets of a selector.
#[derive(Debug)]
struct Group {
    keys: BTreeSet<Text>,
    fallback: Option<SelectorFallback>,
    /// In the order of the values, which are in the order of the keys.
    parts: Box<[(Values, Part)]>,
}

type Values = Box<[MetadataValue]>;

#[derive(Debug)]
enum Part {
    Spread(Spread),
    One(Arc<Member>),
}

impl Division {
    /// The places must be in the order of their priorities.
    pub(in crate::balance) fn new(
        settings: &SubsetSettings,
        places: &[Place<'_>],
        terms: Terms<'_>,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let SubsetSettings { selectors, fallback, default, panic_any, redundant_keys, .. } = settings;
        let mut build = Build { settings, places, terms, rng };
        let mut groups: Vec<_> = selectors
            .iter()
            .map(|selector| Group {
                keys: selector.keys.clone(),
                fallback: selector.fallback.clone(),
                parts: build.parts(&selector.keys, selector.single_endpoint),
            })
            .collect();
        if *redundant_keys {
            // The first that fits is the one with the most keys, and of several the first that was given.
            groups.sort_by_key(|group| std::cmp::Reverse(group.keys.len()));
        }
        let leads_to = |wanted: SubsetFallback| {
            let of_selectors = selectors.iter().filter_map(|selector| selector.fallback.as_ref());
            *fallback == wanted || of_selectors.clone().any(|one| *one == SelectorFallback::Policy(wanted))
        };
        let any = (leads_to(SubsetFallback::Any) || *panic_any).then(|| build.spread(|_| true));
        let default = leads_to(SubsetFallback::Default)
            .then(|| build.spread(|endpoint| has(endpoint, default, settings.list_as_any)));
        Self {
            groups: groups.into(),
            fallback: *fallback,
            any,
            default,
            panic_any: *panic_any,
            redundant_keys: *redundant_keys,
        }
    }

    pub(in crate::balance) fn choose(
        &self,
        subset: Option<&Subset>,
        ask: &mut Ask<'_>,
    ) -> Result<&Arc<Member>, PickError> {
        let mut only = None;
        // Each round has fewer keys than the one before; settings that were not validated do not make it endless.
        for _ in 0..=self.groups.len() {
            let Some(group) = subset.and_then(|subset| self.group(subset, only)) else { break };
            if let Some(part) = subset.and_then(|subset| group.part(subset)) {
                return part.choose(ask);
            }
            match &group.fallback {
                None => break,
                Some(SelectorFallback::Policy(fallback)) => return self.fall_back(*fallback, ask),
                Some(SelectorFallback::Keys(keys)) => only = Some(keys),
            }
        }
        match (self.fall_back(self.fallback, ask), &self.any) {
            (Err(_), Some(any)) if self.panic_any && self.fallback != SubsetFallback::None => any.choose(ask),
            (found, _) => found,
        }
    }

    fn fall_back(&self, fallback: SubsetFallback, ask: &mut Ask<'_>) -> Result<&Arc<Member>, PickError> {
        let spread = match fallback {
            SubsetFallback::None => None,
            SubsetFallback::Any => self.any.as_ref(),
            SubsetFallback::Default => self.default.as_ref(),
        };
        spread.ok_or(PickError::NoSubset)?.choose(ask)
    }

    /// The selector that fits what a request asks by; of that, `only` some keys may be left.
    fn group(&self, subset: &Subset, only: Option<&BTreeSet<Text>>) -> Option<&Group> {
        let counts = |key: &&Text| only.is_none_or(|only| only.contains(*key));
        self.groups.iter().find(|group| match self.redundant_keys {
            true => group.keys.iter().all(|key| subset.contains_key(key) && counts(&key)),
            false => group.keys.iter().eq(subset.keys().filter(counts)),
        })
    }
}

impl Group {
    /// The subset with the values that a request asks for.
    fn part(&self, subset: &Subset) -> Option<&Part> {
        let order = |(values, _): &(Values, Part)| {
            let pairs = values.iter().zip(&self.keys);
            let order = pairs.map(|(value, key)| subset.get(key).map_or(Ordering::Less, |asked| compare(value, asked)));
            order.fold(Ordering::Equal, Ordering::then)
        };
        let found = self.parts.binary_search_by(order).ok()?;
        self.parts.get(found).map(|(_, part)| part)
    }
}

impl Part {
    fn choose(&self, ask: &mut Ask<'_>) -> Result<&Arc<Member>, PickError> {
        match self {
            Self::Spread(spread) => spread.choose(ask),
            Self::One(member) => Ok(member),
        }
    }
}

struct Build<'a, 'b> {
    settings: &'a SubsetSettings,
    places: &'a [Place<'a>],
    terms: Terms<'a>,
    rng: &'b mut fastrand::Rng,
}

/// Members by the number of their place.
type ByPlace = BTreeMap<usize, Vec<(Arc<Member>, Condition)>>;

impl<'a> Build<'a, '_> {
    fn parts(&mut self, keys: &BTreeSet<Text>, single: bool) -> Box<[(Values, Part)]> {
        let mut members = BTreeMap::<Ordered, ByPlace>::new();
        for (index, place) in self.places.iter().enumerate() {
            for (member, condition) in place.members {
                for values in combinations(&member.endpoint, keys, self.settings.list_as_any) {
                    let of_place: &mut Vec<_> = members.entry(Ordered(values)).or_default().entry(index).or_default();
                    // A list may hold a value twice.
                    if of_place.last().is_none_or(|(last, _)| !Arc::ptr_eq(last, member)) {
                        of_place.push((Arc::clone(member), *condition));
                    }
                }
            }
        }
        let part = |(Ordered(values), by_place): (Ordered, ByPlace)| {
            let first = by_place.values().flatten().next().filter(|_| single);
            let part = match first {
                Some((member, _)) => Part::One(Arc::clone(member)),
                None => Part::Spread(self.of(&by_place)),
            };
            (values.into(), part)
        };
        members.into_iter().map(part).collect()
    }

    fn spread(&mut self, is_in: impl Fn(&Endpoint) -> bool) -> Spread {
        let filtered = |(index, place): (usize, &Place<'_>)| {
            let members = place.members.iter().filter(|(member, _)| is_in(&member.endpoint));
            (index, members.cloned().collect())
        };
        let by_place = self.places.iter().enumerate().map(filtered).collect();
        self.of(&by_place)
    }

    fn of(&mut self, members: &ByPlace) -> Spread {
        let places: Vec<_> = members.iter().filter_map(|(index, members)| self.place(*index, members)).collect();
        Spread::new(&places, self.terms, self.rng)
    }

    /// A place with some of its members.
    fn place<'m>(&self, index: usize, members: &'m [(Arc<Member>, Condition)]) -> Option<Place<'m>>
    where
        'a: 'm,
    {
        let place = self.places.get(index)?;
        let weight = match self.settings.locality_weights {
            LocalityWeights::Scaled => scaled(place.weight, members.len(), place.members.len()),
            LocalityWeights::Ignored | LocalityWeights::Kept => place.weight,
        };
        Some(Place { weight, members, ..*place })
    }
}

fn scaled(weight: u32, part: usize, of: usize) -> u32 {
    (f64::from(weight) * part as f64 / of.max(1) as f64).round() as u32
}

/// The values by which an endpoint is in subsets: none if it has no value for a key, several if it has lists.
fn combinations(endpoint: &Endpoint, keys: &BTreeSet<Text>, list_as_any: bool) -> Vec<Vec<MetadataValue>> {
    let mut combinations = vec![Vec::with_capacity(keys.len())];
    for key in keys {
        let values = match endpoint.metadata.get(key) {
            Some(EndpointValue::One(value)) => std::slice::from_ref(value),
            Some(EndpointValue::List(values)) if list_as_any => values.as_slice(),
            _ => return Vec::new(),
        };
        let with = |before: &Vec<_>, value: &MetadataValue| before.iter().cloned().chain([value.clone()]).collect();
        let extended = combinations.iter().flat_map(|before| values.iter().map(move |value| with(before, value)));
        combinations = extended.take(MAX_COMBINATIONS).collect();
    }
    combinations
}

/// An endpoint is in no more subsets of a selector: lists multiply.
const MAX_COMBINATIONS: usize = 1024;

/// Whether an endpoint has all of these values.
fn has(endpoint: &Endpoint, wanted: &Subset, list_as_any: bool) -> bool {
    wanted.iter().all(|(key, wanted)| match endpoint.metadata.get(key) {
        Some(EndpointValue::One(value)) => compare(value, wanted).is_eq(),
        Some(EndpointValue::List(values)) => list_as_any && values.iter().any(|value| compare(value, wanted).is_eq()),
        None => false,
    })
}

/// An order of all values.
fn compare(left: &MetadataValue, right: &MetadataValue) -> Ordering {
    let kind = |value: &MetadataValue| match value {
        MetadataValue::Bool(_) => 0,
        MetadataValue::Number(_) => 1,
        MetadataValue::Text(_) => 2,
    };
    match (left, right) {
        (MetadataValue::Bool(left), MetadataValue::Bool(right)) => left.cmp(right),
        // Both zeros are one.
        (MetadataValue::Number(left), MetadataValue::Number(right)) => (left + 0.0).total_cmp(&(right + 0.0)),
        (MetadataValue::Text(left), MetadataValue::Text(right)) => left.cmp(right),
        _ => kind(left).cmp(&kind(right)),
    }
}

/// Values that are sorted by.
struct Ordered(Vec<MetadataValue>);

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.0.iter().zip(&other.0);
        pairs.map(|(left, right)| compare(left, right)).fold(Ordering::Equal, Ordering::then)
    }
}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}
