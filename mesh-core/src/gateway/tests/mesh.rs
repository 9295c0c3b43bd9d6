use super::*;

fn service() -> MeshService {
    MeshService { namespace: "shop".into(), cluster: "own".into() }
}

fn in_namespace(namespace: &str, hostnames: &[&str], rule: HttpRule) -> HttpRoute {
    http_route(namespace, "r", hostnames, vec![rule])
}

fn mesh(http: &[HttpRoute], grpc: &[GrpcRoute]) -> RouteTable {
    let (http, grpc): (Vec<_>, Vec<_>) = (http.iter().collect(), grpc.iter().collect());
    RouteTable::new(service_routes("test", Entry::http(8080), &service(), &http, &grpc)).unwrap()
}

fn from(table: &RouteTable, peer: Option<&str>, path: &str, list: &[(&'static str, &str)]) -> String {
    let list = headers(list);
    let mut request = Request::new(&Method::GET, "whatever.example", path, &list);
    request.head.peer = peer;
    table.find(&request, 0).map_or_else(|_| "404".to_owned(), |selected| told(&selected, &request))
}

const SHOP: Option<&str> = Some("spiffe://cluster.local/ns/shop/sa/web");
const TEAM: Option<&str> = Some("spiffe://cluster.local/ns/team/sa/web");

#[test]
fn without_routes_a_service_is_itself() {
    assert_eq!(from(&mesh(&[], &[]), None, "/", &[]), "own");
}

#[test]
fn routes_replace_the_service_whatever_the_host() {
    let route = in_namespace("shop", &["other.example"], to("v2", vec![prefix("/v2")]));
    let table = mesh(&[route], &[]);
    for peer in [None, SHOP, TEAM] {
        assert_eq!(from(&table, peer, "/v2/x", &[]), "v2");
        assert_eq!(from(&table, peer, "/v1", &[]), "404", "there is no way back to the service");
    }
}

#[test]
fn routes_of_another_namespace_are_for_its_clients_and_instead_of_the_others() {
    let producer = in_namespace("shop", &[], to("producer", vec![exact("/a")]));
    let consumer = in_namespace("team", &[], to("consumer", vec![prefix("/b")]));
    let dotted = in_namespace("te.m", &[], to("dotted", vec![prefix("/a")]));
    for routes in [vec![producer.clone(), consumer.clone(), dotted.clone()], vec![dotted, consumer.clone(), producer]] {
        let table = mesh(&routes, &[]);
        for (peer, a, b) in [
            (None, "producer", "404"),
            (SHOP, "producer", "404"),
            (TEAM, "404", "consumer"),
            (Some("spiffe://other.domain/ns/team/sa/x"), "404", "consumer"),
            (Some("spiffe://cluster.local/ns/team2/sa/web"), "producer", "404"),
            (Some("spiffe://cluster.local/ns/team/sa/web/more"), "producer", "404"),
            (Some("spiffe://cluster.local/ns/shop/sa/ns/team/sa/web"), "producer", "404"),
        ] {
            assert_eq!(
                (from(&table, peer, "/a", &[]).as_str(), from(&table, peer, "/b", &[]).as_str()),
                (a, b),
                "{peer:?}"
            );
        }
    }
    let table = mesh(&[consumer], &[]);
    assert_eq!((from(&table, TEAM, "/a", &[]).as_str(), from(&table, TEAM, "/b", &[]).as_str()), ("404", "consumer"));
    for peer in [None, SHOP] {
        assert_eq!(from(&table, peer, "/b", &[]), "own", "nothing is decided for the others");
    }
}

#[test]
fn with_routes_of_grpc_those_of_http_do_not_count() {
    let mut grpc = GrpcRoute::new(RouteId::new("shop", "g"));
    grpc.rules = vec![to("grpc", vec![])];
    let table = mesh(&[in_namespace("shop", &[], to("http", vec![]))], &[grpc]);
    assert_eq!(from(&table, None, "/p.Svc/Do", &[("content-type", "application/grpc")]), "grpc");
    assert_eq!(from(&table, None, "/", &[]), "404");
}

#[test]
fn errors_and_redirects_are_as_at_a_gateway() {
    let bad = HttpRule { backends: vec![BackendRef::invalid(1)], ..to("", vec![prefix("/bad")]) };
    let redirect = HttpRule {
        matches: vec![prefix("/r")],
        filters: vec![Filter::Redirect(RequestRedirect::default())],
        ..HttpRule::default()
    };
    let table = mesh(&[http_route("shop", "r", &[], vec![bad, redirect])], &[]);
    assert_eq!(from(&table, None, "/bad", &[]), "500");
    assert_eq!(from(&table, None, "/r", &[]), "302 http://whatever.example:8080/r", "the port of the service");
}
