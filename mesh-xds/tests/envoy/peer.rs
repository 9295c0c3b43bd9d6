use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use envoy_types::pb::envoy::config::bootstrap::v3::{Bootstrap, bootstrap::StaticResources};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::Cors;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_filter,
};
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use http::{HeaderMap, Method};
use mesh_core::gateway::filter_name;
use mesh_core::route::RouteTable;
use mesh_xds::envoy::route::{decode_route_table, encode_route_table};
use prost::{Message, Name};

/// A cluster is one address of the loopback network, from `127.0.0.10` on.
const CLUSTERS: [&str; 5] = ["c0", "c1", "c2", "c3", "mirror"];

const FIRST: u8 = 10;

/// What both are asked.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) authority: &'static str,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
}

/// An Envoy with one listener for each table.
pub(crate) struct Envoy {
    process: Child,
    ports: Vec<u16>,
    _config: tempfile::TempPath,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Envoy {
    pub(crate) fn start(tables: &[RouteTable]) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the binary is a setting of this test")]
        let binary = std::env::var("ENVOY").unwrap();
        let server = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = server.local_addr().unwrap().port();
        std::thread::spawn(move || {
            server.incoming().for_each(|stream| drop(std::thread::spawn(|| serve(stream.unwrap()))))
        });
        let held: Vec<_> = tables.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> = held.iter().map(|held| held.local_addr().unwrap().port()).collect();
        drop(held);
        let resources = StaticResources {
            listeners: tables.iter().zip(&ports).map(|(table, port)| listener(table, *port)).collect(),
            clusters: CLUSTERS.iter().zip(FIRST..).map(|(name, last)| cluster(name, last, port)).collect(),
            ..StaticResources::default()
        };
        let bootstrap = Bootstrap { static_resources: Some(resources), ..Bootstrap::default() };
        let mut config = tempfile::Builder::new().suffix(".pb").tempfile().unwrap();
        config.write_all(&bootstrap.encode_to_vec()).unwrap();
        let config = config.into_temp_path();
        let mut command = Command::new(binary);
        command.arg("-c").arg(&config).args(["--concurrency", "1", "-l", "error", "--use-dynamic-base-id"]);
        let mut envoy = Self { process: command.spawn().unwrap(), ports, _config: config };
        envoy.ready();
        envoy
    }

    fn ready(&mut self) {
        for port in &self.ports {
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                assert_eq!(self.process.try_wait().unwrap(), None, "Envoy refuses the configuration");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// What it makes of a question to the table at this position.
    pub(crate) fn ask(&self, table: usize, question: &Question) -> String {
        let Question { method, authority, target, headers } = question;
        let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: 0\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[table])).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "{text}\r\n").unwrap();
        let mut read = Vec::new();
        let (head, body) = loop {
            let mut chunk = [0; 4096];
            let len = stream.read(&mut chunk).unwrap();
            assert!(len > 0, "an answer breaks off");
            read.extend_from_slice(&chunk[..len]);
            let text = String::from_utf8(read.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            if body.len() >= values(head, "content-length").first().map_or(0, |length| length.parse().unwrap()) {
                break (head.to_owned(), body.to_owned());
            }
        };
        let edited = values(&head, "x-edit").join("|");
        match (head.split(' ').nth(1).unwrap(), values(&head, "grpc-status").first()) {
            (_, Some(status)) => format!("grpc {status}"),
            ("200", None) => format!("{body} {edited}"),
            (status, None) if status.starts_with('3') => format!("{status} {} {edited}", values(&head, "location")[0]),
            (status, None) => format!("{status} {edited}"),
        }
    }
}

fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name));
    head.lines().filter_map(value).map(|(_, value)| value).collect()
}

/// Answers each request with what it is: cluster, host, target, `x-edit`.
fn serve(mut stream: TcpStream) {
    let last = stream.local_addr().unwrap().to_string().split(['.', ':']).nth(3).unwrap().parse::<u8>().unwrap();
    let cluster = CLUSTERS[usize::from(last - FIRST)];
    let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = stream.read(&mut chunk) {
        read.extend_from_slice(&chunk[..len]);
        while let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8(read.drain(..end + 4).collect()).unwrap();
            let target = head.split(' ').nth(1).unwrap();
            let body = format!("{cluster} {} {target} {}", values(&head, "host")[0], values(&head, "x-edit").join("|"));
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-edit: server\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes());
        }
    }
}

fn listener(table: &RouteTable, port: u16) -> Listener {
    let bytes = encode_route_table(table);
    let decoded = decode_route_table(&bytes).unwrap();
    assert_eq!((&decoded.value, decoded.warnings.as_slice()), (table, [].as_slice()), "what is written is read");
    let mut routes = RouteConfiguration::decode(&*bytes).unwrap();
    // What discovery has as its default: clusters of routes may come later, or never.
    routes.validate_clusters = Some(BoolValue { value: false });
    let manager = HttpConnectionManager {
        stat_prefix: "test".into(),
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        http_filters: vec![
            http_filter(filter_name::CORS, &Cors {}),
            http_filter(filter_name::FAULT, &HttpFault::default()),
            http_filter("envoy.filters.http.router", &Router::default()),
        ],
        ..HttpConnectionManager::default()
    };
    let filter = Filter { name: "http".into(), config_type: Some(ConfigType::TypedConfig(any(&manager))) };
    Listener {
        name: port.to_string(),
        address: Some(address("127.0.0.1", port)),
        filter_chains: vec![FilterChain { filters: vec![filter], ..FilterChain::default() }],
        ..Listener::default()
    }
}

fn http_filter<T: Message + Name>(name: &str, config: &T) -> HttpFilter {
    let config_type = Some(http_filter::ConfigType::TypedConfig(any(config)));
    HttpFilter { name: name.into(), config_type, ..HttpFilter::default() }
}

fn cluster(name: &str, last: u8, port: u16) -> Cluster {
    let endpoint = Endpoint { address: Some(address(&format!("127.0.0.{last}"), port)), ..Endpoint::default() };
    let endpoint = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let locality = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() };
    let assignment = ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![locality],
        ..ClusterLoadAssignment::default()
    };
    Cluster { name: name.into(), load_assignment: Some(assignment), ..Cluster::default() }
}

fn address(ip: &str, port: u16) -> Address {
    let port_specifier = Some(PortSpecifier::PortValue(port.into()));
    let socket = SocketAddress { address: ip.into(), port_specifier, ..SocketAddress::default() };
    Address { address: Some(Place::SocketAddress(socket)) }
}

fn any<T: Message + Name>(message: &T) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", T::full_name()), value: message.encode_to_vec() }
}
