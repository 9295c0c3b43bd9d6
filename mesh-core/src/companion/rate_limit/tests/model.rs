use super::*;

/// What the naive model knows of a request.
#[derive(Debug, Clone)]
struct Sent {
    headers: Vec<(&'static str, &'static str)>,
    query: Vec<(&'static str, &'static str)>,
    source: Option<&'static str>,
    metadata: Option<&'static str>,
    cluster: Option<&'static str>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let headers = proptest::collection::vec((select(vec!["a", "b"]), select(vec!["1", "2", ""])), 0..3);
    // Each parameter is written plainly or encoded; both are the same.
    let query = proptest::collection::vec((select(vec!["p", "q"]), select(vec!["1", "2"])), 0..3);
    let source = select(vec![None, Some("10.1.2.3"), Some("::ffff:10.1.2.3"), Some("2001:db8:1:2::3")]);
    (headers, query, source, select(vec![None, Some(""), Some("m")]), select(vec![None, Some("c")]))
        .prop_map(|(headers, query, source, metadata, cluster)| Sent { headers, query, source, metadata, cluster })
}

/// An action, and what it gives by the words of its specification: an entry, nothing, or the end of the descriptor.
type Modelled = (Of, Box<dyn Fn(&Sent) -> Option<Option<(String, String)>>>);

fn modelled(index: usize, flag: bool, name: &'static str, value: &'static str) -> Modelled {
    fn entry(key: &str, value: impl Into<String>) -> Option<Option<(String, String)>> {
        Some(Some((key.into(), value.into())))
    }
    let first = move |pairs: &[(&str, &str)]| {
        pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    let or_skip = move |key: &'static str, value: Option<String>| match value {
        Some(value) => entry(key, value),
        None if flag => Some(None),
        None => None,
    };
    let v4 = |sent: &Sent| sent.source.map(|source| source.trim_start_matches("::ffff:").to_owned());
    match index {
        0 => (Of::SourceCluster, Box::new(|_| entry("source_cluster", "web"))),
        1 => (Of::DestinationCluster, Box::new(|sent| entry("destination_cluster", sent.cluster?))),
        2 => (
            Of::RequestHeader { name: name.parse().unwrap(), key: "h".into(), skip_if_absent: flag },
            Box::new(move |sent| or_skip("h", first(&sent.headers))),
        ),
        3 => {
            let name = if name == "a" { "p" } else { "q" };
            (
                Of::QueryParameter { name: name.into(), key: "q".into(), skip_if_absent: flag },
                Box::new(move |sent| {
                    let value =
                        sent.query.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
                    or_skip("q", value)
                }),
            )
        }
        4 => (Of::RemoteAddress, Box::new(move |sent| entry("remote_address", v4(sent)?))),
        5 => (
            Of::MaskedRemoteAddress { v4: 16, v6: 48 },
            Box::new(move |sent| {
                let masked = if v4(sent)?.starts_with("10.") { "10.1.0.0/16" } else { "2001:db8:1::/48" };
                entry("masked_remote_address", masked)
            }),
        ),
        6 => (Of::GenericKey { key: "g".into(), value: value.into() }, Box::new(move |_| entry("g", value))),
        7 => {
            let headers = vec![HeaderMatch::new(name.parse().unwrap(), Condition::Present(true))];
            (
                Of::HeaderMatch { key: "hm".into(), value: value.into(), expect: flag, headers },
                Box::new(move |sent| {
                    (first(&sent.headers).is_some() == flag).then(|| Some(("hm".into(), value.into())))
                }),
            )
        }
        8 => {
            let query = vec![QueryMatch { name: "p".into(), condition: QueryCondition::Text(Pattern::exact(value)) }];
            (
                Of::QueryMatch { key: "qm".into(), value: value.into(), expect: flag, query },
                Box::new(move |sent| {
                    let first = sent.query.iter().find(|(known, _)| *known == "p");
                    (first.is_some_and(|(_, known)| *known == value) == flag).then(|| Some(("qm".into(), value.into())))
                }),
            )
        }
        9 => {
            let action = Of::RemoteAddressMatch {
                key: "ra".into(),
                value: Template::new("%REQ(a)%").unwrap(),
                default: (name == "a").then(|| "d".into()),
                ranges: vec!["10.1.0.0/16".parse().unwrap()],
                invert: flag,
            };
            let expected = move |sent: &Sent| {
                if v4(sent)?.starts_with("10.") == flag {
                    return None;
                }
                let all: Vec<_> =
                    sent.headers.iter().filter(|(known, _)| *known == "a").map(|(_, value)| *value).collect();
                match all.join(",").as_str() {
                    "" if name == "a" => entry("ra", "d"),
                    "" => None,
                    value => entry("ra", value),
                }
            };
            (action, Box::new(expected))
        }
        _ => {
            let at = MetadataPath { filter: "f".into(), keys: vec!["x".into(), "y".into()] };
            let default = (name == "a").then(|| "d".into());
            (
                Of::Metadata { key: "m".into(), at, default, skip_if_absent: flag },
                Box::new(move |sent| {
                    let said = sent.metadata.filter(|said| !said.is_empty()).or_else(|| (name == "a").then_some("d"));
                    or_skip("m", said.map(str::to_owned))
                }),
            )
        }
    }
}

proptest! {
    #[test]
    fn descriptors_are_what_the_naive_model_says(
        sent in sent(),
        encoded in any::<bool>(),
        actions in proptest::collection::vec(
            (0..11usize, any::<bool>(), select(vec!["a", "b"]), select(vec!["1", "2"])), 0..4),
    ) {
        let (actions, expected): (Vec<_>, Vec<_>) =
            actions.into_iter().map(|(index, flag, name, value)| modelled(index, flag, name, value)).unzip();
        let expected: Option<Vec<_>> = expected.iter().map(|expected| expected(&sent)).collect();
        let expected = expected.map(|entries| entries.into_iter().flatten().collect::<Vec<_>>());
        let expected = expected.filter(|entries| !entries.is_empty());

        let write = |text: &str| match encoded {
            true => text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
            false => text.to_owned(),
        };
        let query: Vec<_> = sent.query.iter().map(|(name, value)| format!("{}={}", write(name), write(value))).collect();
        let target = if query.is_empty() { "/".to_owned() } else { format!("/?{}", query.join("&")) };
        let headers: HeaderMap = sent.headers.iter()
            .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(value)))
            .collect();
        let mut metadata = Metadata::default();
        if let Some(said) = sent.metadata {
            metadata.set("f", "x", json!({"y": said}));
        }
        let mut request = crate::request::Request::new(&Method::GET, "shop", &target, &headers);
        request.head.source = sent.source.map(|source| source.parse().unwrap());
        let facts =
            Facts { request, metadata: &metadata, source_cluster: "web", destination_cluster: sent.cluster };
        let limit = RateLimit { actions, ..RateLimit::default() };
        let seen = descriptor(&limit, &facts).map(|descriptor| {
            descriptor.entries.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect::<Vec<_>>()
        });
        prop_assert_eq!(seen, expected);
    }
}

#[test]
fn hits_and_limits_of_a_descriptor() {
    let headers = HeaderMap::from_iter([
        ("cost".parse().unwrap(), HeaderValue::from_static("5")),
        ("huge".parse().unwrap(), HeaderValue::from_static("1000000001")),
        ("text".parse().unwrap(), HeaderValue::from_static("-5")),
    ]);
    let mut metadata = Metadata::default();
    metadata.set("f", "good", json!({"requests_per_unit": 42.0, "unit": "HOUR"}));
    metadata.set("f", "fraction", json!({"requests_per_unit": 0.5, "unit": "HOUR"}));
    metadata.set("f", "negative", json!({"requests_per_unit": -1, "unit": "HOUR"}));
    metadata.set("f", "large", json!({"requests_per_unit": 4_294_967_296_u64, "unit": "HOUR"}));
    metadata.set("f", "unit", json!({"requests_per_unit": 1, "unit": "hour"}));
    metadata.set("f", "text", json!("42 per hour"));
    let request = crate::request::Request::new(&Method::GET, "shop", "/", &headers);
    let facts = Facts { request, metadata: &metadata, source_cluster: "", destination_cluster: None };
    let text = |text: &str, negative| Hits::Text { text: Template::new(text).unwrap(), negative };
    for (hits, expected) in [
        (None, Some((None, false))),
        (Some(Hits::Number { number: 0, negative: true }), Some((Some(0), true))),
        (Some(text("%REQ(cost)%", false)), Some((Some(5), false))),
        (Some(text("%REQ(cost)%", true)), Some((Some(5), true))),
        (Some(text("%REQ(huge)%", false)), None),
        (Some(text("%REQ(text)%", false)), None),
        (Some(text("%REQ(none)%", false)), None),
    ] {
        let limit = RateLimit { hits, ..generic("a") };
        let seen = descriptor(&limit, &facts).map(|descriptor| (descriptor.hits, descriptor.negative));
        assert_eq!(seen, expected, "{limit:?}");
    }
    let at = |key: &str| LimitOverride::Metadata(MetadataPath { filter: "f".into(), keys: vec![key.into()] });
    let quota = |requests, unit| Quota { requests, unit };
    for (limit, expected) in [
        (LimitOverride::Fixed(quota(7, RateUnit::Week)), Some(quota(7, RateUnit::Week))),
        (at("good"), Some(quota(42, RateUnit::Hour))),
        (at("fraction"), None),
        (at("negative"), None),
        (at("large"), None),
        (at("unit"), None),
        (at("text"), None),
        (at("none"), None),
    ] {
        let limit = RateLimit { limit: Some(limit), ..generic("a") };
        assert_eq!(descriptor(&limit, &facts).unwrap().limit, expected, "{limit:?}");
    }
}

#[tokio::test]
async fn the_address_of_the_client_is_the_trusted_one() {
    let limit = RateLimit { actions: vec![Of::RemoteAddress], ..RateLimit::default() };
    let mut exchange =
        Exchange::new(Arc::new(Connection::new("10.0.0.1:1".parse().unwrap(), "10.0.0.2:80".parse().unwrap())));
    exchange.remote = "192.0.2.7".parse().unwrap();
    let mut request = get(&[]);
    request.extensions_mut().insert(exchange);
    let (_, questions) = ask(GlobalRateLimit { limits: vec![limit], ..settings() }, over(), request, None).await;
    assert_eq!(questions[0].descriptors[0].to_string(), "remote_address=192.0.2.7");
}
