use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use mesh_core::listener::{
    ClientCertDetails, ClientCertHeader, ForwardedFor, HttpManager, RouteSource, ServerHeader, StripPort,
};

use super::{Admitted, ClientCertificate, Downstream, Refusal, Requester, Rules};

fn manager() -> HttpManager {
    HttpManager::new(RouteSource::Rds("routes".into()))
}

fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut parts = Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0;
    for (name, value) in headers {
        parts.headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    parts
}

fn peer(address: &str) -> Downstream {
    Downstream::new(address.parse().unwrap(), 8080)
}

fn values(headers: &HeaderMap, name: &str) -> String {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("|")
}

#[test]
fn the_client_is_whom_the_rule_believes() {
    const EDGE: ForwardedFor = ForwardedFor { use_remote_address: true, trusted_hops: 0, skip_append: false };
    const INNER: ForwardedFor = ForwardedFor { use_remote_address: false, trusted_hops: 0, skip_append: false };
    // Rule, peer, header before; client, whether it is internal, header after.
    for (rule, from, before, client, internal, after) in [
        (EDGE, "1.2.3.4", "", "1.2.3.4", false, "1.2.3.4"),
        (EDGE, "10.0.0.1", "", "10.0.0.1", true, "10.0.0.1"),
        (EDGE, "1.2.3.4", "10.9.9.9", "1.2.3.4", false, "10.9.9.9, 1.2.3.4"),
        (EDGE, "::1", "", "::1", true, "::1"),
        (
            ForwardedFor { trusted_hops: 1, ..EDGE },
            "5.5.5.5",
            "6.6.6.6, 7.7.7.7",
            "7.7.7.7",
            false,
            "6.6.6.6, 7.7.7.7, 5.5.5.5",
        ),
        (
            ForwardedFor { trusted_hops: 2, ..EDGE },
            "5.5.5.5",
            "6.6.6.6, 7.7.7.7",
            "6.6.6.6",
            false,
            "6.6.6.6, 7.7.7.7, 5.5.5.5",
        ),
        (
            ForwardedFor { trusted_hops: 3, ..EDGE },
            "5.5.5.5",
            "6.6.6.6, 7.7.7.7",
            "5.5.5.5",
            false,
            "6.6.6.6, 7.7.7.7, 5.5.5.5",
        ),
        (ForwardedFor { skip_append: true, ..EDGE }, "5.5.5.5", "6.6.6.6", "5.5.5.5", false, "6.6.6.6"),
        (INNER, "10.0.0.1", "", "10.0.0.1", false, ""),
        (INNER, "10.0.0.1", "6.6.6.6", "6.6.6.6", false, "6.6.6.6"),
        (INNER, "10.0.0.1", "10.1.1.1", "10.1.1.1", true, "10.1.1.1"),
        (INNER, "10.0.0.1", "6.6.6.6, 10.1.1.1", "10.1.1.1", false, "6.6.6.6, 10.1.1.1"),
        (
            ForwardedFor { trusted_hops: 1, ..INNER },
            "10.0.0.1",
            "6.6.6.6, 10.1.1.1",
            "6.6.6.6",
            false,
            "6.6.6.6, 10.1.1.1",
        ),
        (INNER, "10.0.0.1", "unknown", "10.0.0.1", false, "unknown"),
        (INNER, "10.0.0.1", "[2001:db8::1]:80", "2001:db8::1", false, "[2001:db8::1]:80"),
        (INNER, "10.0.0.1", "6.6.6.6:1234", "6.6.6.6", false, "6.6.6.6:1234"),
    ] {
        let mut manager = manager();
        manager.forwarded_for = rule;
        let headers = [("host", "a"), ("x-envoy-internal", "true"), ("x-forwarded-for", before)];
        let mut parts = parts("GET", "/", if before.is_empty() { &headers[..2] } else { &headers[..] });
        Rules::new(&manager).admit(&mut parts, &peer(from)).unwrap();
        let requester = parts.extensions.get::<Requester>().unwrap();
        let found = (requester.address.to_string(), requester.is_internal, values(&parts.headers, "x-forwarded-for"));
        assert_eq!(found, (client.to_owned(), internal, after.to_owned()), "{rule:?} {from} {before}");
        assert_eq!(values(&parts.headers, "x-envoy-internal"), if internal { "true" } else { "" });
    }
}

#[test]
fn strangers_say_nothing_of_others_and_do_not_steer_us() {
    let said = [
        ("host", "a"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("forwarded", "for=9.9.9.9"),
        ("x-envoy-max-retries", "99"),
        ("x-request-id", "mine"),
    ];
    let mut edge = manager();
    edge.forwarded_for.use_remote_address = true;
    let mut stranger = parts("GET", "/", &said);
    Rules::new(&edge).admit(&mut stranger, &peer("9.9.9.9")).unwrap();
    assert_eq!(values(&stranger.headers, "x-forwarded-proto"), "http");
    for name in ["x-forwarded-host", "forwarded", "x-envoy-max-retries"] {
        assert_eq!(values(&stranger.headers, name), "", "{name}");
    }
    let id = values(&stranger.headers, "x-request-id");
    assert_eq!((id.len(), id.as_bytes()[14], id.as_bytes()[8]), (36, b'4', b'-'), "{id}");

    let mut believed = parts("GET", "/", &said);
    Rules::new(&manager()).admit(&mut believed, &peer("10.0.0.1")).unwrap();
    for (name, value) in &said[1..] {
        assert_eq!(values(&believed.headers, name), *value);
    }

    edge.forwarded_for.trusted_hops = 1;
    let mut behind = parts("GET", "/", &said);
    Rules::new(&edge).admit(&mut behind, &peer("2001:db8::1")).unwrap();
    assert_eq!(values(&behind.headers, "forwarded"), "for=9.9.9.9, for=\"[2001:db8::1]\";host=\"a\";proto=http");
    assert_eq!(values(&behind.headers, "x-forwarded-proto"), "https");
}

#[test]
fn certificates_are_told_of_as_the_rule_says() {
    let certificate = ClientCertificate {
        by: Some("spiffe://b".to_owned()),
        hash: "abc".to_owned(),
        subject: Some("CN=\"x\"".to_owned()),
        uri: Some("spiffe://a".to_owned()),
        dns_names: vec!["a".to_owned(), "b".to_owned()],
        pem: Some("-- X\n".to_owned()),
        chain_pem: None,
    };
    let all = ClientCertDetails { subject: true, certificate: true, chain: true, dns_names: true, uri: true };
    let uri = ClientCertDetails { uri: true, ..ClientCertDetails::default() };
    let full = "By=spiffe://b;Hash=abc;Cert=\"--%20X%0A\";Subject=\"CN=\\\"x\\\"\";URI=spiffe://a;DNS=a;DNS=b";
    let short = "By=spiffe://b;Hash=abc;URI=spiffe://a";
    for (rule, with_certificate, without) in [
        (ClientCertHeader::Sanitize, String::new(), ""),
        (ClientCertHeader::ForwardOnly, "Hash=x".to_owned(), ""),
        (ClientCertHeader::AlwaysForwardOnly, "Hash=x".to_owned(), "Hash=x"),
        (ClientCertHeader::AppendForward(uri), format!("Hash=x,{short}"), ""),
        (ClientCertHeader::SanitizeSet(all), full.to_owned(), ""),
    ] {
        for (certificate, expected) in [(Some(certificate.clone()), &*with_certificate), (None, without)] {
            let mut manager = manager();
            manager.client_cert = rule;
            let mut parts = parts("GET", "/", &[("host", "a"), ("x-forwarded-client-cert", "Hash=x")]);
            let from = Downstream { certificate: certificate.map(Arc::new), ..peer("10.0.0.1") };
            Rules::new(&manager).admit(&mut parts, &from).unwrap();
            assert_eq!(values(&parts.headers, "x-forwarded-client-cert"), expected, "{rule:?}");
        }
    }
}

#[test]
fn hosts_lose_their_port_and_dot_as_the_rule_says() {
    for (port, dot, method, before, after) in [
        (StripPort::Never, false, "GET", "a.:8080", "a.:8080"),
        (StripPort::Matching, false, "GET", "a:8080", "a"),
        (StripPort::Matching, false, "GET", "a:80", "a:80"),
        (StripPort::Any, false, "GET", "a:80", "a"),
        (StripPort::Any, false, "GET", "[::1]:80", "[::1]"),
        (StripPort::Any, false, "GET", "[::1]", "[::1]"),
        (StripPort::Any, false, "CONNECT", "a:80", "a:80"),
        (StripPort::Never, true, "GET", "a.", "a"),
        (StripPort::Never, true, "GET", "a.:80", "a:80"),
        (StripPort::Any, true, "GET", "a.:80", "a"),
    ] {
        let mut manager = manager();
        (manager.strip_port, manager.strip_trailing_host_dot) = (port, dot);
        let uri = if method == "CONNECT" { before } else { "/" };
        let mut parts = parts(method, uri, &[("host", before)]);
        Rules::new(&manager).admit(&mut parts, &peer("10.0.0.1")).unwrap();
        assert_eq!(values(&parts.headers, "host"), after, "{port:?} {dot} {before}");
    }
}

#[test]
fn what_concerns_one_connection_goes_no_further() {
    let mut request = parts(
        "GET",
        "/",
        &[
            ("host", "a"),
            ("connection", "close, X-Once, te"),
            ("connection", "keep-alive"),
            ("x-once", "1"),
            ("x-kept", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers;q=0.5"),
            ("trailer", "x-sum"),
        ],
    );
    let admitted = Rules::new(&manager()).admit(&mut request, &peer("10.0.0.1")).unwrap();
    assert_eq!(admitted, Admitted { expects_continue: false, upgrades: false });
    for name in ["connection", "x-once", "keep-alive", "proxy-connection"] {
        assert_eq!(values(&request.headers, name), "", "{name}");
    }
    for (name, value) in [("x-kept", "1"), ("te", "trailers"), ("trailer", "x-sum")] {
        assert_eq!(values(&request.headers, name), value);
    }

    let mut headers = parts(
        "GET",
        "/",
        &[
            ("connection", "x-once, content-length"),
            ("x-once", "1"),
            ("content-length", "5"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
        ],
    )
    .headers;
    Rules::new(&manager()).finish(&mut headers, false);
    let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(["content-length", "server", "date"].iter().all(|name| headers.contains_key(*name)));
}

#[test]
fn a_response_says_in_any_case_what_its_connection_changes_to() {
    for connection in ["upgrade", "Upgrade", "UPGRADE, X-Once, Content-Length"] {
        let given = [("connection", connection), ("upgrade", "WebSocket"), ("x-once", "1"), ("content-length", "0")];
        let mut headers = parts("GET", "/", &given).headers;
        Rules::new(&manager()).finish(&mut headers, true);
        assert_eq!(values(&headers, "connection"), "upgrade", "{connection}");
        assert_eq!(values(&headers, "upgrade"), "WebSocket", "{connection}");
        assert_eq!(headers.contains_key("x-once"), !connection.contains("X-Once"), "{connection}");
        assert!(headers.contains_key("content-length"), "{connection}");
    }
}

#[test]
fn servers_are_named_as_the_rule_says() {
    for (rule, given, shown) in [
        (ServerHeader::Overwrite("".into()), Some("nginx"), "mesh"),
        (ServerHeader::Overwrite("shop".into()), Some("nginx"), "shop"),
        (ServerHeader::AppendIfAbsent("shop".into()), Some("nginx"), "nginx"),
        (ServerHeader::AppendIfAbsent("shop".into()), None, "shop"),
        (ServerHeader::PassThrough, None, ""),
    ] {
        let mut manager = manager();
        manager.server_header = rule;
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert("server", HeaderValue::from_static(given));
        }
        Rules::new(&manager).finish(&mut headers, false);
        assert_eq!(values(&headers, "server"), shown);
    }
}

/// What raw bytes cannot show, because HTTP/2 is parsed by then.
#[test]
fn http2_has_rules_of_its_own() {
    let rules = Rules::new(&manager());
    let admit = |edit: fn(&mut Parts)| {
        let mut parts = parts("GET", "http://a/x", &[]);
        parts.version = Version::HTTP_2;
        edit(&mut parts);
        rules.admit(&mut parts, &peer("10.0.0.1")).map(|_| (parts.uri.to_string(), values(&parts.headers, "host")))
    };
    let header = |name| Err(Refusal::MalformedHeader(HeaderName::from_static(name)));
    assert_eq!(admit(|_| {}), Ok(("/x".to_owned(), "a".to_owned())));
    assert_eq!(
        admit(|parts| drop(parts.headers.insert("connection", HeaderValue::from_static("x")))),
        header("connection")
    );
    assert_eq!(admit(|parts| drop(parts.headers.insert("upgrade", HeaderValue::from_static("x")))), header("upgrade"));
    assert_eq!(admit(|parts| drop(parts.headers.insert("te", HeaderValue::from_static("gzip")))), header("te"));
    assert_eq!(
        admit(|parts| drop(parts.headers.insert("transfer-encoding", HeaderValue::from_static("chunked")))),
        header("transfer-encoding")
    );
    assert_eq!(admit(|parts| parts.uri = "/x".parse().unwrap()), Err(Refusal::MissingHost));
    assert_eq!(
        admit(|parts| {
            parts.method = Method::CONNECT;
            parts.extensions.insert(h2::ext::Protocol::from_static("websocket"));
        }),
        Ok(("/x".to_owned(), "a".to_owned()))
    );
    assert_eq!(admit(|parts| parts.method = Method::CONNECT), Err(Refusal::MalformedTarget));
}
