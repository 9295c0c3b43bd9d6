use super::*;

#[test]
fn requests_are_divided_by_weight() {
    let table = only(Action::Forward(Box::new(weighted(WeightedChoice::Random))));
    let none = HeaderMap::new();
    let request = get("a", "/", &none);
    // A fixed sequence of well mixed numbers (SplitMix64 from 7).
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    let chosen: Vec<_> =
        (0..10_000).map(|_| table.find(&request, next()).unwrap().cluster(&request).unwrap()).collect();
    let count = |name| chosen.iter().filter(|chosen| **chosen == name).count();
    assert_eq!(count("none"), 0);
    assert!((2350..2650).contains(&count("a")), "{}", count("a"));
    assert_eq!(count("a") + count("b"), 10_000);
}

#[test]
fn a_fraction_does_not_bend_the_weights() {
    let mut matcher = RouteMatch::new(PathMatch::prefix("/"));
    matcher.fraction = Some(Fraction::percent(1));
    let action = Action::Forward(Box::new(weighted(WeightedChoice::Random)));
    let table = table(vec![host(&["*"], vec![Route::new(matcher, action)])]);
    let none = HeaderMap::new();
    let request = get("a", "/", &none);
    let numbers = (0..4000_u64).map(|high| (high << 32) | ((100 - ((high << 32) % 100)) % 100));
    let clusters = numbers.map(|random| table.find(&request, random).unwrap().cluster(&request).unwrap());
    assert_eq!(clusters.filter(|cluster| *cluster == "a").count(), 1000);
}

#[test]
fn a_header_or_a_hash_may_choose_the_cluster() {
    let none = HeaderMap::new();
    let by_header = only(Action::Forward(Box::new(weighted(WeightedChoice::Header("x-n".parse().unwrap())))));
    for (number, cluster) in [("0", "a"), ("1", "b"), ("3", "b"), ("4", "a")] {
        let list = headers(&[("x-n", number)]);
        let request = get("a", "/", &list);
        assert_eq!(by_header.find(&request, 0).unwrap().cluster(&request), Some(cluster), "{number}");
    }
    let chosen = |random: u64| by_header.find(&get("a", "/", &none), random).unwrap().weighted.unwrap().weight;
    assert_eq!((chosen(0), chosen(1 << 32)), (1, 3));

    let mut forward = weighted(WeightedChoice::Hash);
    forward.hash = vec![HashPolicy { key: HashKey::Query("u".into()), terminal: false }];
    let by_hash = only(Action::Forward(Box::new(forward)));
    for user in 0..50 {
        let target = format!("/?u={user}");
        let request = get("a", &target, &none);
        let chosen =
            [0, 1 << 32, u64::MAX].map(|random| by_hash.find(&request, random).unwrap().weighted.unwrap().weight);
        assert!(chosen.iter().all(|weight| *weight == chosen[0]));
    }
}

#[test]
fn a_cluster_may_be_named_by_a_header() {
    let table = only(Action::Forward(Box::new(Forward::new(ClusterChoice::Header("x-c".parse().unwrap())))));
    for (list, cluster) in [(&[("x-c", "blue")][..], Some("blue")), (&[("x-c", "")], None), (&[], None)] {
        let list = headers(list);
        let request = get("a", "/", &list);
        assert_eq!(table.find(&request, 0).unwrap().cluster(&request), cluster);
    }
}

#[test]
fn a_cluster_has_the_last_word_about_the_subset_and_the_route_about_the_host() {
    let subset = |pairs: &[(&str, &str)]| -> Subset {
        pairs.iter().map(|(key, value)| ((*key).into(), MetadataValue::Text((*value).into()))).collect()
    };
    let cluster = WeightedCluster {
        host: Some("special".into()),
        subset: subset(&[("v", "2"), ("z", "b")]),
        ..WeightedCluster::new("c", 1)
    };
    let clusters = WeightedClusters { clusters: vec![cluster], choice: WeightedChoice::Random };
    let forward = Forward {
        host: Some(HostRewrite::Literal("general".into())),
        subset: subset(&[("v", "1"), ("w", "a")]),
        ..Forward::new(ClusterChoice::Weighted(clusters))
    };
    let (table, none) = (only(Action::Forward(Box::new(forward))), HeaderMap::new());
    let request = get("a", "/", &none);
    let selected = table.find(&request, 0).unwrap();
    assert_eq!(selected.authority(&request, None).as_deref(), Some("general"));
    assert_eq!(*selected.subset(), subset(&[("v", "2"), ("w", "a"), ("z", "b")]));
}

#[test]
fn mirrors_and_filters_come_from_the_most_specific_level() {
    let mirror =
        |name: &str| Mirror { cluster: ClusterName::Named(name.into()), fraction: None, keep_host: false, host: None };
    let disabled = || -> FilterOverrides { [("f".into(), FilterOverride::Disabled)].into() };
    let mut config = RouteConfig {
        hosts: vec![host(&["*"], vec![route(PathMatch::prefix("/"), forward("c"))])],
        mirrors: vec![mirror("config")],
        ..RouteConfig::default()
    };
    let none = HeaderMap::new();
    let request = get("a", "/", &none);
    let seen = |config: &RouteConfig| {
        let table = RouteTable::new(config.clone()).unwrap();
        let selected = table.find(&request, 0).unwrap();
        (selected.mirrors().to_vec(), selected.filter("f").is_some(), selected.filter("g").is_some())
    };
    assert_eq!(seen(&config), (vec![mirror("config")], false, false));
    config.hosts[0].mirrors = vec![mirror("host")];
    config.filters = disabled();
    assert_eq!(seen(&config), (vec![mirror("host")], true, false));
    config.hosts[0].routes[0].action =
        Action::Forward(Box::new(Forward { mirrors: vec![mirror("route"), mirror("more")], ..Forward::to("c") }));
    assert_eq!(seen(&config), (vec![mirror("route"), mirror("more")], true, false));
}

#[test]
fn a_copy_is_told_by_its_host() {
    let mut mirror = Mirror { cluster: ClusterName::Named("m".into()), fraction: None, keep_host: false, host: None };
    assert_eq!(mirror.authority("a"), "a-shadow");
    assert_eq!(mirror.authority("a:80"), "a-shadow:80");
    mirror.keep_host = true;
    assert_eq!(mirror.authority("a:80"), "a:80");
    mirror.host = Some("b".into());
    assert_eq!(mirror.authority("a:80"), "b");
}
