use super::*;

#[test]
fn the_first_rule_that_matches_decides() {
    let rule = |path: &str, demand| Rule { matcher: RouteMatch::new(PathMatch::prefix(path)), demand };
    let mut config = config([("a", of("a")), ("b", of("b"))], Requirement::Nothing);
    config.requirements = BTreeMap::from([("either".into(), either(["a", "b"]))]);
    config.rules = vec![
        rule("/open", Demand::Inline(Requirement::Nothing)),
        rule("/a", Demand::Inline(Requirement::provider("a"))),
        rule("/either", Demand::Named("either".into())),
    ];
    let ask = |config: &Authentication, target: &str, token: &str| {
        reason(&filter(config.clone()), target, &[("authorization", &bearer(token))]).is_none()
    };
    let (a, b) = (good("a"), good("b"));
    let passes: Vec<_> = ["/open", "/a", "/either", "/other", "/a?x=1"]
        .map(|target| (ask(&config, target, &a), ask(&config, target, &b), ask(&config, target, "x")))
        .into();
    assert_eq!(
        passes,
        [(true, true, true), (true, false, false), (true, true, false), (true, true, true), (true, false, false)]
    );

    for (broken, expected) in [
        (Demand::Named("none".into()), ConfigError::UnknownRequirement("none".into())),
        (Demand::Inline(Requirement::All(vec![Requirement::provider("c")])), ConfigError::UnknownProvider("c".into())),
        (Demand::Inline(nested(limits::MAX_DEPTH + 1)), ConfigError::TooDeep),
    ] {
        config.rules = vec![rule("/", broken)];
        let error = Authenticate::new(config.clone(), Arc::new(Names::default())).unwrap_err();
        assert_eq!(error, expected);
    }
    config.rules = vec![rule("/", Demand::Inline(nested(limits::MAX_DEPTH)))];
    assert!(ask(&config, "/", "x"));
}

fn either(names: [&str; 2]) -> Requirement {
    Requirement::Any(names.map(Requirement::provider).into())
}

#[tokio::test]
async fn a_route_demands_something_else() {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full};
    use tower::{Layer, ServiceExt, service_fn};

    let mut config = config([("a", of("a")), ("b", of("b"))], Requirement::provider("a"));
    config.requirements = BTreeMap::from([("of-b".into(), Requirement::provider("b"))]);
    config.providers.get_mut("a").unwrap().claim_headers =
        vec![ClaimHeader { header: HeaderName::from_static("x-sub"), claim: vec!["sub".into()] }];
    let route = |path: &str, setting: Option<FilterOverride>| {
        let action = Action::Forward(Box::new(Forward::to("c")));
        let mut route = Route::new(RouteMatch::new(PathMatch::prefix(path)), action);
        route.filters.extend(setting.map(|setting| ("jwt".into(), setting)));
        route
    };
    let named = |name: &str| Some(FilterOverride::Authn(Some(name.into())));
    let routes = vec![
        route("/b", named("of-b")),
        route("/free", Some(FilterOverride::Authn(None))),
        route("/wrong", named("none")),
        route("/", None),
    ];
    let host = VirtualHost { domains: vec!["*".into()], routes, ..VirtualHost::default() };
    let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() }).unwrap();
    let filters = vec![Named::new("jwt", filter(config))];
    let layer = FilterLayer::chain(Live::constant(Chain { routes: Some(Arc::new(table)), filters }));
    let service = layer.layer(service_fn(async |request: Request<_>| {
        let subject = request.headers().get("x-sub").map(|value| Bytes::copy_from_slice(value.as_bytes()));
        drop(request);
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(subject.unwrap_or_default())))
    }));
    for (path, token, expected) in [
        ("/", good("a"), Ok("joe")),
        ("/", good("b"), Err(401)),
        ("/b", good("a"), Err(401)),
        ("/b", good("b"), Ok("")),
        ("/free", "x".into(), Ok("")),
        ("/wrong", good("a"), Err(403)),
    ] {
        let request = Request::builder().uri(format!("http://shop{path}")).header("authorization", bearer(&token));
        let request = request.header("x-sub", "forged").body(Empty::<Bytes>::new()).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let got = if status == 200 { Ok(std::str::from_utf8(&body).unwrap()) } else { Err(status) };
        assert_eq!(got, expected, "{path}");
    }
}

#[test]
fn a_browser_that_asks_for_permission_brings_no_token() {
    let mut config = config([("p", of("a"))], Requirement::provider("p"));
    let asks = |bypass: bool, method: &str, headers: &[(&str, &str)]| {
        let mut config = config.clone();
        config.bypass_cors_preflight = bypass;
        let mut head = head("/", headers);
        head.method = method.parse().unwrap();
        ask(&filter(config), &mut head, &mut exchange()).is_ok()
    };
    let both = [("origin", "https://a"), ("access-control-request-method", "GET")];
    assert!(asks(true, "OPTIONS", &both));
    assert!(!asks(false, "OPTIONS", &both) && !asks(true, "GET", &both) && !asks(true, "OPTIONS", &both[..1]));
    assert!(!asks(true, "OPTIONS", &[both[0], ("access-control-request-method", "")]));
    config.bypass_cors_preflight = true;
}

#[test]
fn routes_are_chosen_anew_where_claims_may_count() {
    let chosen = |change: fn(&mut Provider)| {
        let mut provider = of("a");
        change(&mut provider);
        let filter = filter(config([("p", provider)], Requirement::provider("p")));
        let mut known = exchange();
        known.route = crate::filter::Routed::Nowhere(crate::route::Unrouted::NoRoute);
        ask(&filter, &mut head("/", &[("authorization", &bearer(&good("a")))]), &mut known).unwrap();
        matches!(known.route, crate::filter::Routed::Unasked)
    };
    assert!(!chosen(|provider| provider.clear_route_cache = true));
    assert!(!chosen(|provider| provider.payload_in_metadata = Some("p".into())));
    assert!(chosen(|provider| {
        provider.clear_route_cache = true;
        provider.payload_in_metadata = Some("p".into());
    }));
    assert!(chosen(|provider| {
        provider.clear_route_cache = true;
        provider.claim_headers =
            vec![ClaimHeader { header: HeaderName::from_static("x-s"), claim: vec!["sub".into()] }];
    }));
}
