use std::collections::BTreeSet;

use super::*;
use crate::name::Text;
use crate::route::{MetadataValue, Subset};

fn text(value: &str) -> MetadataValue {
    MetadataValue::Text(value.into())
}

fn wanted(pairs: &[(&str, &str)]) -> Subset {
    pairs.iter().map(|(key, value)| ((*key).into(), text(value))).collect()
}

fn with(index: usize, pairs: &[(&str, &str)]) -> Endpoint {
    let one = |(key, value): &(&str, &str)| (Text::from(*key), EndpointValue::One(text(value)));
    Endpoint { metadata: pairs.iter().map(one).collect(), ..endpoint(index, 1) }
}

/// Two versions, of which the second runs in two stages; the last endpoint says nothing of itself.
fn fleet() -> Assignment {
    let endpoints = vec![
        with(0, &[("version", "1"), ("stage", "prod")]),
        with(1, &[("version", "1"), ("stage", "prod")]),
        with(2, &[("version", "2"), ("stage", "prod")]),
        with(3, &[("version", "2"), ("stage", "dev")]),
        endpoint(4, 1),
    ];
    Assignment::new("c", vec![locality("a", 0, 1, endpoints)])
}

fn divided(settings: SubsetSettings) -> Cluster {
    Cluster { subsets: Some(settings), ..cluster(Policy::RoundRobin { slow_start: None }) }
}

fn by(keys: &[&str]) -> SubsetSelector {
    SubsetSelector::new(keys.iter().copied())
}

/// Which endpoints requests go to.
fn used(bench: &mut Bench, subset: &Subset) -> Result<BTreeSet<usize>, PickError> {
    let one = |_| {
        let request = Request { subset: Some(subset), ..Request::default() };
        let pick = bench.balancer.pick(&request, &mut bench.rng, bench.now)?;
        Ok((0..1000).find(|index| at(*index) == pick.address()).unwrap())
    };
    (0..200).map(one).collect()
}

fn set(indexes: &[usize]) -> BTreeSet<usize> {
    indexes.iter().copied().collect()
}

#[test]
fn requests_go_to_the_endpoints_with_their_values() {
    let version = || by(&["version"]);
    let both = || by(&["version", "stage"]);
    let plain = SubsetSettings::new(vec![version(), both()]);
    let any = SubsetSettings { fallback: SubsetFallback::Any, ..plain.clone() };
    let production = wanted(&[("stage", "prod")]);
    let default = SubsetSettings { fallback: SubsetFallback::Default, default: production, ..plain.clone() };
    let redundant = SubsetSettings { redundant_keys: true, ..plain.clone() };
    let own = |fallback| SubsetSettings {
        selectors: vec![version(), SubsetSelector { fallback: Some(fallback), ..both() }],
        ..default.clone()
    };
    let none = own(SelectorFallback::Policy(SubsetFallback::None));
    let anyone = own(SelectorFallback::Policy(SubsetFallback::Any));
    let fewer = own(SelectorFallback::Keys(["version".into()].into()));
    let all: &[usize] = &[0, 1, 2, 3, 4];
    type Row<'a> = (&'a SubsetSettings, &'a [(&'a str, &'a str)], Option<&'a [usize]>);
    let table: [Row<'_>; 25] = [
        (&plain, &[("version", "1")], Some(&[0, 1])),
        (&plain, &[("version", "2")], Some(&[2, 3])),
        (&plain, &[("version", "2"), ("stage", "dev")], Some(&[3])),
        // No such value; not the keys of a selector, too few or too many; nothing asked for.
        (&plain, &[("version", "3")], None),
        (&plain, &[("stage", "dev")], None),
        (&plain, &[("version", "1"), ("more", "x")], None),
        (&plain, &[], None),
        (&any, &[("version", "1")], Some(&[0, 1])),
        (&any, &[("version", "3")], Some(all)),
        (&any, &[("stage", "dev")], Some(all)),
        (&any, &[], Some(all)),
        (&default, &[("version", "3")], Some(&[0, 1, 2])),
        (&default, &[("stage", "dev")], Some(&[0, 1, 2])),
        // The most keys that fit, and what is too much does not count.
        (&redundant, &[("version", "2"), ("stage", "dev"), ("more", "x")], Some(&[3])),
        (&redundant, &[("version", "2"), ("more", "x")], Some(&[2, 3])),
        (&redundant, &[("version", "1"), ("stage", "dev")], None),
        (&redundant, &[("stage", "dev")], None),
        // What a selector says counts for its own keys only.
        (&none, &[("version", "1"), ("stage", "dev")], None),
        (&none, &[("version", "3")], Some(&[0, 1, 2])),
        (&anyone, &[("version", "1"), ("stage", "dev")], Some(all)),
        (&anyone, &[("version", "3")], Some(&[0, 1, 2])),
        (&fewer, &[("version", "1"), ("stage", "dev")], Some(&[0, 1])),
        (&fewer, &[("version", "2"), ("stage", "dev")], Some(&[3])),
        // Fewer keys do not help either: what the policy says.
        (&fewer, &[("version", "3"), ("stage", "dev")], Some(&[0, 1, 2])),
        (&fewer, &[("version", "3")], Some(&[0, 1, 2])),
    ];
    for (settings, pairs, expected) in table {
        assert_eq!(settings.validate(), Ok(()));
        let mut bench = Bench::new(divided(settings.clone()), &fleet());
        let expected = expected.map(set).ok_or(PickError::NoSubset);
        assert_eq!(used(&mut bench, &wanted(pairs)), expected, "{pairs:?} {settings:?}");
    }
    // Without subsets, what a request asks for is of no interest.
    let mut bench = Bench::new(cluster(Policy::Random), &fleet());
    assert_eq!(used(&mut bench, &wanted(&[("version", "1")])), Ok(set(all)));
}

#[test]
fn values_are_compared_by_their_kind() {
    let kinds =
        [MetadataValue::Bool(true), MetadataValue::Number(1.0), text("1"), text("true"), MetadataValue::Number(0.0)];
    let endpoints = kinds.iter().enumerate().map(|(index, kind)| Endpoint {
        metadata: BTreeMap::from([("k".into(), EndpointValue::One(kind.clone()))]),
        ..endpoint(index, 1)
    });
    let assignment = Assignment::new("c", vec![locality("a", 0, 1, endpoints.collect())]);
    let mut bench = Bench::new(divided(SubsetSettings::new(vec![by(&["k"])])), &assignment);
    let mut found = |value: MetadataValue| used(&mut bench, &Subset::from([("k".into(), value)]));
    for (index, kind) in kinds.into_iter().enumerate() {
        assert_eq!(found(kind.clone()), Ok(set(&[index])), "{kind:?}");
    }
    assert_eq!(found(MetadataValue::Number(-0.0)), Ok(set(&[4])));
    for other in [MetadataValue::Bool(false), MetadataValue::Number(2.0), text("")] {
        assert_eq!(found(other), Err(PickError::NoSubset));
    }
}

#[test]
fn a_list_stands_for_each_of_its_values_if_it_is_said_to() {
    let list = |values: &[&str]| EndpointValue::List(values.iter().map(|value| text(value)).collect());
    let mut assignment = fleet();
    let endpoints = &mut assignment.localities[0].endpoints;
    endpoints[0].metadata.insert("version".into(), list(&["1", "7", "7"]));
    endpoints[0].metadata.insert("stage".into(), list(&["dev", "prod"]));
    endpoints[4].metadata.insert("version".into(), list(&[]));
    let selectors = vec![by(&["version"]), by(&["version", "stage"])];
    let default = SubsetSettings { fallback: SubsetFallback::Default, ..SubsetSettings::new(selectors) };
    let default = SubsetSettings { default: wanted(&[("version", "7")]), ..default };
    let any = SubsetSettings { list_as_any: true, ..default.clone() };
    let mut bench = Bench::new(divided(any), &assignment);
    assert_eq!(used(&mut bench, &wanted(&[("version", "1")])), Ok(set(&[0, 1])));
    assert_eq!(used(&mut bench, &wanted(&[("version", "7")])), Ok(set(&[0])));
    assert_eq!(used(&mut bench, &wanted(&[("version", "7"), ("stage", "dev")])), Ok(set(&[0])));
    assert_eq!(used(&mut bench, &wanted(&[("version", "9")])), Ok(set(&[0])));
    let mut bench = Bench::new(divided(default), &assignment);
    assert_eq!(used(&mut bench, &wanted(&[("version", "1")])), Ok(set(&[1])));
    assert_eq!(used(&mut bench, &wanted(&[("version", "7")])), Err(PickError::NoEndpoints));
}

#[test]
fn lists_do_not_multiply_without_end() {
    let many = EndpointValue::List((0..2000).map(|index| MetadataValue::Number(f64::from(index))).collect());
    let keys: Vec<_> = (0..6).map(|index| format!("k{index}")).collect();
    let mut wide = endpoint(0, 1);
    wide.metadata = keys.iter().map(|key| (Text::from(key.as_str()), many.clone())).collect();
    let selector = SubsetSelector::new(keys.iter().map(String::as_str));
    let settings = SubsetSettings { list_as_any: true, ..SubsetSettings::new(vec![selector]) };
    let assignment = Assignment::new("c", vec![locality("a", 0, 1, vec![wide])]);
    let mut bench = Bench::new(divided(settings), &assignment);
    let zeros: Subset = keys.iter().map(|key| (Text::from(key.as_str()), MetadataValue::Number(0.0))).collect();
    assert_eq!(used(&mut bench, &zeros), Ok(set(&[0])));
}

#[test]
fn health_and_priorities_count_inside_of_a_subset() {
    let health = |health, endpoint| Endpoint { health, ..endpoint };
    let version = |index| with(index, &[("version", "1")]);
    let first = vec![health(Health::Unhealthy, version(0)), health(Health::Unhealthy, version(1)), endpoint(2, 1)];
    let second = vec![version(3), endpoint(4, 1)];
    let places = vec![locality("a", 0, 1, first), locality("b", 1, 1, second)];
    let settings = SubsetSettings {
        fallback: SubsetFallback::Default,
        default: wanted(&[("version", "none")]),
        ..SubsetSettings::new(vec![by(&["version"])])
    };
    let cluster =
        |panic_any| Cluster { panic_threshold: 0, ..divided(SubsetSettings { panic_any, ..settings.clone() }) };
    // Two of three of the first level would be usable for others; of the subset nobody is, so the second takes all.
    let mut bench = Bench::new(cluster(false), &Assignment::new("c", places.clone()));
    assert_eq!(used(&mut bench, &wanted(&[("version", "1")])), Ok(set(&[3])));
    // A subset of which nobody is usable is a subset all the same: no fallback.
    let mut dead = places.clone();
    dead[1].endpoints[0].health = Health::Unhealthy;
    for panic_any in [false, true] {
        let mut bench = Bench::new(cluster(panic_any), &Assignment::new("c", dead.clone()));
        assert_eq!(used(&mut bench, &wanted(&[("version", "1")])), Err(PickError::NoHealthyEndpoint));
    }
    // Where the fallback has nobody, anybody may help.
    let mut bench = Bench::new(cluster(false), &Assignment::new("c", places.clone()));
    assert_eq!(used(&mut bench, &wanted(&[("version", "2")])), Err(PickError::NoEndpoints));
    let mut bench = Bench::new(cluster(true), &Assignment::new("c", places));
    assert_eq!(used(&mut bench, &wanted(&[("version", "2")])), Ok(set(&[2, 3, 4])));
}

#[test]
fn a_single_endpoint_is_used_whatever_its_health() {
    let selector = SubsetSelector { single_endpoint: true, ..by(&["id"]) };
    let id = |index: usize, value| Endpoint { health: Health::Unhealthy, ..with(index, &[("id", value)]) };
    let places =
        vec![locality("b", 1, 1, vec![id(0, "x")]), locality("a", 0, 1, vec![id(1, "x"), id(2, "x"), id(3, "y")])];
    let mut bench = Bench::new(divided(SubsetSettings::new(vec![selector])), &Assignment::new("c", places));
    assert_eq!(used(&mut bench, &wanted(&[("id", "x")])), Ok(set(&[1])));
    assert_eq!(used(&mut bench, &wanted(&[("id", "y")])), Ok(set(&[3])));
}

#[test]
fn weights_of_localities_inside_of_a_subset() {
    let plain = |range: std::ops::Range<usize>| range.map(|index| endpoint(index, 1)).collect::<Vec<_>>();
    let version = |index| with(index, &[("version", "1")]);
    // Of the first locality one of four is in the subset, of the second both.
    let mut first = plain(1..4);
    first.push(version(0));
    let second = vec![version(10), version(11)];
    let places = vec![locality("a", 0, 4, first), locality("b", 0, 4, second)];
    for (weights, expected) in [
        (LocalityWeights::Ignored, 1.0 / 3.0),
        (LocalityWeights::Kept, 1.0 / 2.0),
        (LocalityWeights::Scaled, 1.0 / 5.0),
    ] {
        let settings = SubsetSettings { locality_weights: weights, ..SubsetSettings::new(vec![by(&["version"])]) };
        let cluster = Cluster { localities: Localities::Weighted, ..divided(settings) };
        let mut bench = Bench::new(cluster, &Assignment::new("c", places.clone()));
        let subset = wanted(&[("version", "1")]);
        let request = Request { subset: Some(&subset), ..Request::default() };
        let of_first = (0..6000)
            .filter(|_| bench.balancer.pick(&request, &mut bench.rng, bench.now).unwrap().address() == at(0))
            .count();
        assert!((of_first as f64 / 6000.0 - expected).abs() < 0.01, "{weights:?}: {of_first} of 6000");
    }
}

#[test]
fn settings_that_contradict_themselves() {
    let keys = |keys: &[&str]| Some(SelectorFallback::Keys(keys.iter().map(|key| Text::from(*key)).collect()));
    let with = |fallback| SubsetSettings::new(vec![by(&["v"]), SubsetSelector { fallback, ..by(&["a", "b"]) }]);
    assert_eq!(with(keys(&["a"])).validate(), Ok(()));
    assert_eq!(SubsetSettings::new(vec![by(&[])]).validate(), Err(InvalidSubsetSettings::NoKeys { index: 0 }));
    for wrong in [&["a", "b"][..], &[], &["c"], &["a", "c"]] {
        assert_eq!(with(keys(wrong)).validate(), Err(InvalidSubsetSettings::FallbackKeys { index: 1 }), "{wrong:?}");
        // Who does not ask gets an answer all the same.
        let mut bench = Bench::new(divided(with(keys(wrong))), &fleet());
        assert_eq!(used(&mut bench, &wanted(&[("a", "1"), ("b", "1")])), Err(PickError::NoSubset));
    }
}

/// Versions and stages, or none; a third key that no selector has.
fn any_metadata() -> impl Strategy<Value = BTreeMap<Text, EndpointValue>> {
    let value = (0..3_u32).prop_map(|value| EndpointValue::One(text(&value.to_string())));
    proptest::collection::btree_map(proptest::sample::select(vec!["a", "b", "c"]).prop_map(Text::from), value, 0..=3)
}

proptest! {
    /// Against the definition: the endpoints that have all values, if the keys are those of a selector.
    #[test]
    fn a_pick_stays_in_its_subset(
        metadata in proptest::collection::vec(any_metadata(), 1..12), asked in any_metadata(), any: bool, seed: u64,
    ) {
        let endpoints: Vec<_> = metadata
            .iter()
            .enumerate()
            .map(|(index, metadata)| Endpoint { metadata: metadata.clone(), ..endpoint(index, 1) })
            .collect();
        let selectors: [&[&str]; 3] = [&["a"], &["a", "b"], &["c"]];
        let fallback = if any { SubsetFallback::Any } else { SubsetFallback::None };
        let settings = SubsetSettings {
            fallback,
            ..SubsetSettings::new(selectors.iter().map(|keys| by(keys)).collect())
        };
        let asked: Subset = asked
            .into_iter()
            .filter_map(|(key, value)| match value {
                EndpointValue::One(value) => Some((key, value)),
                EndpointValue::List(_) => None,
            })
            .collect();
        let selected = selectors.iter().any(|keys| asked.keys().map(Text::as_str).eq(keys.iter().copied()));
        let fits = |metadata: &BTreeMap<Text, EndpointValue>| {
            asked.iter().all(|(key, value)| metadata.get(key) == Some(&EndpointValue::One(value.clone())))
        };
        let fitting: BTreeSet<_> =
            metadata.iter().enumerate().filter(|(_, metadata)| selected && fits(metadata)).map(|(index, _)| index).collect();
        let expected = match (fitting.is_empty(), any) {
            (false, _) => Ok(fitting),
            (true, true) => Ok((0..metadata.len()).collect()),
            (true, false) => Err(PickError::NoSubset),
        };
        let assignment = Assignment::new("c", vec![locality("a", 0, 1, endpoints)]);
        let mut bench = Bench::with(divided(settings), &assignment, Setup { seed, ..Setup::default() });
        prop_assert_eq!(used(&mut bench, &asked), expected);
    }
}

/// Inside of a subset the weights of its endpoints count, and nobody else is picked.
#[test]
fn shares_inside_of_a_subset_follow_the_weights() {
    let weights = [1, 2, 7, 50, 50];
    let mut assignment = fleet();
    for (endpoint, weight) in assignment.localities[0].endpoints.iter_mut().zip(weights) {
        endpoint.weight = NonZeroU32::new(weight).unwrap();
        endpoint.metadata.insert("all".into(), EndpointValue::One(text(if weight < 10 { "light" } else { "heavy" })));
    }
    for policy in [Policy::RoundRobin { slow_start: None }, Policy::PEAK_EWMA, Policy::Maglev(Maglev::default())] {
        let settings = SubsetSettings::new(vec![by(&["all"])]);
        let mut bench = Bench::new(Cluster { subsets: Some(settings), ..cluster(policy.clone()) }, &assignment);
        let light = wanted(&[("all", "light")]);
        let mut counts = BTreeMap::new();
        for _ in 0..10_000 {
            let request = Request { subset: Some(&light), ..Request::default() };
            let pick = bench.balancer.pick(&request, &mut bench.rng, bench.now).unwrap();
            *counts.entry(pick.address()).or_default() += 1;
        }
        assert_eq!(counts.len(), 3);
        let square = chi_square(&counts, &[(0, 0.1), (1, 0.2), (2, 0.7)], 10_000);
        assert!(square < far(3), "{policy:?}: {square}");
    }
}
