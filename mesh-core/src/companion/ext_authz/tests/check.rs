use super::*;

#[tokio::test]
async fn the_authorizer_sees_as_much_of_the_body_as_it_may() {
    let settings = |body| ExternalAuthz { body: Some(body), ..grpc() };
    let allowed = || Ok(Decision::Allow(allow()));
    for (body, seen) in [
        (whole(5, false), Some(("hello", false))),
        (whole(5, true), Some(("hello", false))),
        (whole(4, true), Some(("hell", true))),
        (whole(4, false), None),
    ] {
        let spoof = [("x-envoy-auth-partial-body", "spoof")];
        let (response, checks) = ask(settings(body), allowed(), request("http://shop/", &spoof, "hello")).await;
        let Some((bytes, partial)) = seen else {
            assert_eq!((response.status().as_u16(), checks.len()), (413, 0));
            continue;
        };
        assert_eq!(&response.body()[..], b"hello");
        let check = &checks[0];
        assert_eq!(check.body, Some(CheckedBody { bytes: bytes.into(), partial, as_bytes: true }));
        let told: &[u8] = if partial { b"true" } else { b"false" };
        assert_eq!(check.header("x-envoy-auth-partial-body"), Some(told));
        assert_eq!(check.size, (!partial).then_some(5));
    }
    // What follows an upgrade is no body.
    let upgrade = request("http://shop/", &[("upgrade", "websocket")], "hello");
    let (_, checks) = ask(settings(whole(4, false)), allowed(), upgrade).await;
    assert_eq!(checks[0].body, None);
    let (_, checks) = ask(grpc(), allowed(), request("http://shop/", &[("content-length", "5")], "hello")).await;
    assert_eq!((&checks[0].body, checks[0].size), (&None, Some(5)));
}

fn over(connection: Connection, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let mut exchange = Exchange::new(Arc::new(connection));
    exchange.metadata.set("jwt", "sub", json!("alice"));
    exchange.metadata.set("secret", "key", json!(1));
    request.extensions_mut().insert(exchange);
    request
}

#[tokio::test]
async fn a_check_holds_what_is_known_and_may_be_told() {
    let sent = [("x-request-id", "r1"), ("a", "1"), ("a", "2"), ("host", "other")];
    let sent = || request("http://shop.example/cart?item=7", &sent, "");
    let told = ExternalAuthz {
        include_peer_certificate: true,
        include_tls_session: true,
        metadata: vec!["jwt".into(), "none".into()],
        raw_headers: true,
        ..grpc()
    };
    let (_, checks) = ask(told, Ok(Decision::Allow(allow())), over(connection(), sent())).await;
    let check = &checks[0];
    let source = Peer {
        address: "10.0.0.1:4711".parse().unwrap(),
        principal: "spiffe://d/web".into(),
        certificate: Some(Bytes::from_static(b"der")),
    };
    assert_eq!(check.source, source);
    assert_eq!((&*check.destination.principal.to_string(), check.destination.address.port()), ("spiffe://d/shop", 80));
    assert_eq!(
        (check.authority.as_str(), check.path.as_str(), check.scheme),
        ("shop.example", "/cart?item=7", "https")
    );
    assert_eq!((check.id.as_str(), check.size, check.raw_headers), ("r1", None, true));
    assert_eq!(check.server_name, Some("shop".into()));
    assert_eq!(check.metadata.at("jwt", &["sub"]), Some(&json!("alice")));
    assert_eq!(check.metadata.of("secret"), None);
    let headers: Vec<_> =
        check.headers.iter().map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap())).collect();
    let pseudo = [(":authority", "shop.example"), (":method", "GET"), (":path", "/cart?item=7"), (":scheme", "https")];
    assert_eq!(headers[..4], pseudo);
    assert_eq!(headers[4..], [("x-request-id", "r1"), ("a", "1"), ("a", "2")]);

    let (_, checks) = ask(grpc(), Ok(Decision::Allow(allow())), over(connection(), sent())).await;
    let check = &checks[0];
    assert_eq!((&check.source.certificate, &check.server_name), (&None, &None));
    assert_eq!(check.metadata, crate::filter::Metadata::default());
}

#[tokio::test]
async fn a_principal_is_the_best_name_of_a_certificate() {
    let names = |uris: &[&str], dns: &[&str], subject: &str| PeerNames {
        uris: uris.iter().map(|name| (*name).into()).collect(),
        dns_names: dns.iter().map(|name| (*name).into()).collect(),
        subject: subject.into(),
        certificate: Bytes::new(),
    };
    for (peer, principal) in [
        (None, ""),
        (Some(names(&[], &[], "")), ""),
        (Some(names(&[], &[], "CN=a")), "CN=a"),
        (Some(names(&[], &["b", "c"], "CN=a")), "b"),
        (Some(names(&["d", "e"], &["b"], "CN=a")), "d"),
    ] {
        let settings = ExternalAuthz { include_peer_certificate: true, ..grpc() };
        let connection = Connection { peer, ..connection() };
        let (_, checks) = ask(settings, Ok(Decision::Allow(allow())), over(connection, get())).await;
        assert_eq!((checks[0].source.principal.as_str(), &checks[0].source.certificate), (principal, &None));
    }
}

#[tokio::test]
async fn lists_say_which_headers_are_seen() {
    let list = |names: &[&str]| names.iter().map(|name| Pattern::exact(name)).collect::<Vec<_>>();
    let headers = |allowed: Option<&[&str]>, disallowed: &[&str]| HeaderChoice {
        allowed: allowed.map(list),
        disallowed: list(disallowed),
    };
    let everything = || HeaderChoice { allowed: Some(vec![prefix("")]), disallowed: Vec::new() };
    for (service, choice, seen) in [
        (grpc(), headers(None, &[]), &["a", "authorization", "b", "te"][..]),
        (grpc(), headers(None, &["a"]), &["authorization", "b", "te"]),
        (grpc(), headers(Some(&["a", "b"]), &["b"]), &["a"]),
        (plain(|_| ()), headers(None, &[]), &["authorization"]),
        (plain(|_| ()), headers(Some(&["a"]), &[]), &["a", "authorization"]),
        (plain(|_| ()), headers(Some(&["a"]), &["authorization"]), &["a"]),
        (plain(|_| ()), everything(), &["a", "authorization", "b"]),
    ] {
        let sent = [("a", "1"), ("b", "2"), ("te", "trailers"), ("authorization", "3")];
        let settings = ExternalAuthz { headers: choice.clone(), ..service };
        let (_, checks) = ask(settings, Ok(Decision::Allow(allow())), request("http://shop/", &sent, "")).await;
        let mut names: Vec<_> = checks[0].headers.iter().map(|(name, _)| name.as_str()).collect();
        names.retain(|name| !name.starts_with(':'));
        names.sort_unstable();
        assert_eq!(names, seen, "{choice:?}");
    }
}
