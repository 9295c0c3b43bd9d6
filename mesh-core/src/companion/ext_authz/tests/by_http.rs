use super::*;

async fn question(settings: ExternalAuthz, sent: Request<Full<Bytes>>) -> Result<Request<Bytes>, CompanionError> {
    let (_, checks) = ask(settings.clone(), timeout(), sent).await;
    let Service::Http(service) = settings.service else { panic!("it is asked by HTTP") };
    service.request(checks[0].clone())
}

#[tokio::test]
async fn the_question_is_the_request_with_another_path() {
    let sent = [("authorization", "secret"), ("a", "1"), ("content-length", "5"), ("x-by", "client")];
    let sent = || request("http://shop.example/cart?item=7", &sent, "hello");
    let settings = plain(|service| {
        service.path = CheckPath::Prefix("/check".into());
        let template = |text| Template::new(text).unwrap();
        service.add = vec![
            ("x-by".parse().unwrap(), template("%REQ(:method)% mesh")),
            ("x-none".parse().unwrap(), template("%REQ(none)%")),
        ];
    });
    let asked = question(settings.clone(), sent()).await.unwrap();
    assert_eq!(asked.uri(), "http://shop.example/check/cart?item=7");
    assert_eq!(values(asked.headers(), "authorization"), ["secret"]);
    assert_eq!(values(asked.headers(), "content-length"), ["0"]);
    assert_eq!(values(asked.headers(), "x-by"), ["GET mesh"]);
    assert_eq!((asked.headers().len(), asked.body().len()), (3, 0));

    let shown = ExternalAuthz { body: Some(whole(4, true)), ..settings };
    let asked = question(shown, sent()).await.unwrap();
    assert_eq!((&asked.body()[..], values(asked.headers(), "content-length")), (&b"hell"[..], vec!["4".to_owned()]));
    assert_eq!(values(asked.headers(), "x-envoy-auth-partial-body"), ["true"]);

    let whole = plain(|service| service.path = CheckPath::Whole("/auth".into()));
    assert_eq!(question(whole, sent()).await.unwrap().uri(), "http://shop.example/auth");
    let tunnel = Request::connect("db:5432").body(Full::default()).unwrap();
    assert!(matches!(question(plain(|_| ()), tunnel).await, Err(CompanionError::Invalid { field: "method", .. })));
    let broken = plain(|service| service.path = CheckPath::Prefix("/a b".into()));
    assert!(matches!(question(broken, sent()).await, Err(CompanionError::Invalid { field: "path", .. })));
}

#[test]
fn the_status_decides() {
    let service = HttpService::new("authz", None);
    let decide = |status: u16| {
        service.decision(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), Bytes::from_static(b"body"))
    };
    assert!(matches!(decide(200), Ok(Decision::Allow(_))));
    for status in [201, 204, 302, 400, 401, 403, 499] {
        let refusal = Refusal { status: Some(status), body: "body".into(), ..Refusal::default() };
        assert_eq!(decide(status), Ok(Decision::Deny(refusal)), "{status}");
    }
    for status in [500, 503, 599] {
        assert_eq!(decide(status), Err(CompanionError::Status(status)));
    }
}

fn answered(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

#[test]
fn lists_say_what_an_allowance_changes() {
    let mut service = HttpService::new("authz", None);
    service.upstream = vec![prefix("x-up")];
    service.upstream_append = vec![Pattern::exact("x-more")];
    service.client_on_success = vec![Pattern::exact("set-cookie")];
    service.metadata = vec![Pattern::exact("x-meta")];
    let headers = answered(&[
        ("x-up", "1"),
        ("x-up", "2"),
        ("x-more", "3"),
        ("set-cookie", "c"),
        ("x-meta", "m"),
        ("x-other", "o"),
        ("x-envoy-auth-headers-to-remove", "authorization, cookie ,,"),
    ]);
    let expected = Allowance {
        request: vec![HeaderEdit::set("x-up", "1"), HeaderEdit::append("x-up", "2"), HeaderEdit::append("x-more", "3")],
        remove: vec!["authorization".into(), "cookie".into()],
        response: vec![HeaderEdit::append("set-cookie", "c")],
        metadata: Map::from_iter([("x-meta".to_owned(), Value::from("m"))]),
        ..allow()
    };
    assert_eq!(service.decision(StatusCode::OK, &headers, Bytes::new()), Ok(Decision::Allow(expected)));
    let nothing = HttpService::new("authz", None);
    let said = nothing.decision(StatusCode::OK, &answered(&[("x-up", "1")]), Bytes::new());
    assert_eq!(said, Ok(Decision::Allow(allow())));
}

#[test]
fn lists_say_what_a_refused_client_gets() {
    let headers = answered(&[
        ("location", "l"),
        ("www-authenticate", "w"),
        ("x-a", "a"),
        ("x-b", "b"),
        ("content-length", "7"),
        ("transfer-encoding", "chunked"),
    ]);
    for (client, expected) in [
        (vec![], &["location", "www-authenticate", "x-a", "x-b"][..]),
        (vec![Pattern::exact("x-a")], &["location", "www-authenticate", "x-a"]),
    ] {
        let service = HttpService { client, ..HttpService::new("authz", None) };
        let Ok(Decision::Deny(refusal)) = service.decision(StatusCode::UNAUTHORIZED, &headers, Bytes::new()) else {
            panic!("it is refused")
        };
        let names: Vec<_> = refusal.headers.iter().map(|edit| edit.name.as_str()).collect();
        assert_eq!(names, expected);
    }
}
