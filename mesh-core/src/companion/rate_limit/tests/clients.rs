use super::*;

#[tokio::test]
async fn clients_are_told_of_their_limits() {
    let limits = |headers: &[Option<bool>]| -> Vec<RateLimit> {
        headers.iter().map(|headers| RateLimit { headers: *headers, ..generic("a") }).collect()
    };
    let statuses = vec![
        DescriptorStatus::default(),
        status(false, 10, Some(RateUnit::Second), "per-ip", 5, 900),
        status(false, 1000, Some(RateUnit::Hour), "evil\"\\", 2, 1_700_900),
        status(false, 7, None, "", 2, 0),
    ];
    let inherit = [None; 4];
    for (by_default, each, expected) in [
        (false, inherit, None),
        (true, inherit, Some(("1000, 10;w=1;name=\"per-ip\", 1000;w=3600", "2", "1700"))),
        (false, [None, Some(true), None, None], Some(("10, 10;w=1;name=\"per-ip\"", "5", "0"))),
        (true, [None, None, Some(false), None], Some(("7, 10;w=1;name=\"per-ip\"", "2", "0"))),
    ] {
        for over_limit in [false, true] {
            let settings = GlobalRateLimit { headers: by_default, limits: limits(&each), ..settings() };
            let ruling = Ruling { over_limit, statuses: statuses.clone(), ..Ruling::default() };
            let (response, _) = ask(settings, Ok(ruling), get(&[]), None).await;
            let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]
                .map(|name| values(response.headers(), name));
            let expected = expected.map_or([vec![], vec![], vec![]], |(limit, left, reset): (&str, &str, &str)| {
                [limit, left, reset].map(|value| vec![value.to_owned()])
            });
            assert_eq!(told, expected, "{by_default} {each:?}");
        }
    }
}

#[tokio::test]
async fn clients_are_told_when_to_come_again() {
    let second = Some(RateUnit::Second);
    let statuses = |of: &[(bool, u64)]| -> Vec<DescriptorStatus> {
        of.iter().map(|(over_limit, reset)| status(*over_limit, 1, second, "", 0, *reset)).collect()
    };
    let refusing = |statuses, response| Ok(Ruling { over_limit: true, statuses, response, ..Ruling::default() });
    let asked = GlobalRateLimit { retry_after: true, ..settings() };
    let other = GlobalRateLimit { limited_status: StatusCode::SERVICE_UNAVAILABLE, ..asked.clone() };
    let own = vec![HeaderEdit::append("retry-after", "99")];
    for (settings, statuses, response, expected) in [
        (&asked, statuses(&[(true, 3000), (true, 9000), (false, 60_000)]), vec![], &["9"][..]),
        (&asked, statuses(&[(true, 10)]), vec![], &["1"]),
        (&asked, statuses(&[(false, 3000)]), vec![], &[]),
        (&asked, statuses(&[(true, 3000)]), own, &["99"]),
        (&other, statuses(&[(true, 3000)]), vec![], &[]),
        (&settings(), statuses(&[(true, 3000)]), vec![], &[]),
    ] {
        let answer = alone(settings.clone(), refusing(statuses, response)).await;
        assert_eq!(values(answer.headers(), "retry-after"), expected, "{settings:?}");
    }
}

#[tokio::test]
async fn a_response_is_told_once_by_each_filter_of_a_chain() {
    let filter = |plan: &'static str, answer: &Answered| {
        let mut answer = answer.clone();
        if let Ok(ruling) = &mut answer {
            ruling.response = vec![HeaderEdit::append("x-plan", plan)];
        }
        let limiter = Limiting::new(answer);
        let settings = GlobalRateLimit { limits: vec![generic("a")], ..settings() };
        Named::new(plan, GlobalRateLimiting::new(settings, "web", limiter))
    };
    for (inner, expected) in [(Ok(Ruling::default()), vec!["b", "a"]), (over(), vec!["b", "a"])] {
        let filters = vec![filter("a", &Ok(Ruling::default())), filter("b", &inner)];
        let layer = FilterLayer::chain(Live::constant(Chain { routes: None, filters }));
        let response = layer.layer(service_fn(echo)).oneshot(get(&[])).await.unwrap();
        assert_eq!(values(response.headers(), "x-plan"), expected);
    }
}
