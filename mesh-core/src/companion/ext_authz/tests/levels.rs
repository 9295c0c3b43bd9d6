use super::*;

fn table(route: impl FnOnce(&mut Route), host: impl FnOnce(&mut VirtualHost)) -> RouteTable {
    let matcher = RouteMatch::new(PathMatch::prefix("/"));
    let mut only = Route::new(matcher, Action::Forward(Box::new(Forward::to("carts"))));
    route(&mut only);
    let mut only = VirtualHost { domains: vec!["*".into()], routes: vec![only], ..VirtualHost::default() };
    host(&mut only);
    RouteTable::new(RouteConfig { hosts: vec![only], ..RouteConfig::default() }).unwrap()
}

#[tokio::test]
async fn levels_of_the_route_table_speak_together() {
    let context = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let level =
        |pairs: &[(&str, &str)], body| FilterOverride::ExternalAuthz(CheckOverride { context: context(pairs), body });
    let settings = ExternalAuthz { body: Some(whole(2, true)), ..grpc() };
    for (body, shown) in [
        (BodyOverride::Inherit, Some("he")),
        (BodyOverride::Hidden, None),
        (BodyOverride::Shown(whole(3, true)), Some("hel")),
    ] {
        let routes = table(
            |route| drop(route.filters.insert("authz".into(), level(&[("a", "route"), ("b", "route")], body))),
            |host| {
                drop(host.filters.insert("authz".into(), level(&[("b", "host"), ("c", "host")], BodyOverride::Hidden)))
            },
        );
        let sent = request("http://shop/", &[], "hello");
        let (_, checks) = routed(settings.clone(), Ok(Decision::Allow(allow())), sent, Some(routes)).await;
        let expected = context(&[("a", "route"), ("b", "route"), ("c", "host")]);
        assert_eq!(checks[0].context, expected);
        let seen = checks[0].body.as_ref().map(|body| std::str::from_utf8(&body.bytes).unwrap());
        assert_eq!(seen, shown);
    }
    let off = table(|route| drop(route.filters.insert("authz".into(), FilterOverride::Disabled)), |_| ());
    let (response, checks) = routed(settings, timeout(), get(), Some(off)).await;
    assert_eq!((response.status().as_u16(), checks.len()), (200, 0));
}

#[tokio::test]
async fn a_changed_request_is_routed_again_where_that_is_wanted() {
    let to = |name: &str, cluster: &str| {
        let mut matcher = RouteMatch::new(PathMatch::prefix("/"));
        if !name.is_empty() {
            let present = crate::request::Condition::Present(true);
            matcher.headers = vec![crate::request::HeaderMatch::new(name.parse().unwrap(), present)];
        }
        Route::new(matcher, Action::Forward(Box::new(Forward::to(cluster))))
    };
    let host = VirtualHost {
        domains: vec!["*".into()],
        routes: vec![to("x-tenant", "tenants"), to("", "all")],
        ..VirtualHost::default()
    };
    let config = RouteConfig { hosts: vec![host], ..RouteConfig::default() };
    for (clear_route_cache, expected) in [(false, "all"), (true, "tenants")] {
        let allowance = Allowance { request: vec![HeaderEdit::set("x-tenant", "42")], ..allow() };
        let settings = ExternalAuthz { clear_route_cache, ..grpc() };
        let routes = Some(RouteTable::new(config.clone()).unwrap());
        let (response, _) = routed(settings, Ok(Decision::Allow(allowance)), get(), routes).await;
        let exchange = response.extensions().get::<Exchange>().unwrap();
        let selected = exchange.selection().unwrap().selected();
        let Action::Forward(forward) = &selected.route.action else { panic!("it is forwarded") };
        assert_eq!(**forward, Forward::to(expected));
    }
}
