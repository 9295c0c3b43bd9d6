//! Golden statuses: a directory of manifests and, beside it, what is said of the objects in it. With `MESH_GOLDEN_WRITE=1` in
//! the environment the expected texts are written anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use mesh_core::name::{NamespacedName, parse_trust_domain};
use proptest::prelude::*;

use super::*;
use crate::admission::{SourceFile, admit};
use crate::finding::{Origin, Severity};
use crate::resource::Kind;
use crate::source::dir;

fn place() -> Place {
    Place::new(parse_trust_domain("cluster.local").unwrap(), "c1")
}

fn told(world: &World, findings: &[Finding], generations: &Generations) -> Statuses {
    statuses(&Input { world, place: &place(), findings, generations })
}

fn world(text: &str) -> World {
    let file = SourceFile { path: "mesh.yaml".into(), text: Ok(text.to_owned()) };
    admit(&[file]).unwrap_or_else(|findings| panic!("{findings:#?}")).0
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn conditions(text: &mut String, of: &Value, indent: &str) {
    for one in list(of, "conditions") {
        let field = |name: &str| one[name].as_str().unwrap_or_default();
        let generation = one["observedGeneration"].as_i64().map(|one| format!(" @{one}")).unwrap_or_default();
        let (kind, status, reason, message) = (field("type"), field("status"), field("reason"), field("message"));
        writeln!(text, "{indent}{kind}={status} {reason}{generation}: {message}").unwrap();
    }
}

fn shown(all: &Statuses) -> String {
    let mut text = String::new();
    let reference = |value: &Value| {
        let fields = value.as_object().unwrap().iter();
        let fields: Vec<String> = fields
            .map(|(name, value)| format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        fields.join(" ")
    };
    for (id, status) in all {
        writeln!(text, "{id}").unwrap();
        for address in list(status, "addresses") {
            writeln!(text, "  address {}", reference(address)).unwrap();
        }
        if let Some(sets) = status.get("attachedListenerSets").filter(|sets| **sets != 0) {
            writeln!(text, "  attached ListenerSets {sets}").unwrap();
        }
        for cluster in list(status, "clusters") {
            writeln!(text, "  cluster {}", cluster["cluster"].as_str().unwrap()).unwrap();
        }
        if !list(status, "supportedFeatures").is_empty() {
            writeln!(text, "  supported features {}", list(status, "supportedFeatures").len()).unwrap();
        }
        conditions(&mut text, status, "  ");
        for listener in list(status, "listeners") {
            let kinds: Vec<&str> =
                list(listener, "supportedKinds").iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
            let (name, routes) = (listener["name"].as_str().unwrap(), &listener["attachedRoutes"]);
            let kinds = if kinds.is_empty() { "no kind".to_owned() } else { kinds.join(", ") };
            writeln!(text, "  listener {name}: {routes} routes of {kinds}").unwrap();
            conditions(&mut text, listener, "    ");
        }
        for parent in list(status, "parents") {
            writeln!(text, "  parent {}", reference(&parent["parentRef"])).unwrap();
            conditions(&mut text, parent, "    ");
        }
        for ancestor in list(status, "ancestors") {
            writeln!(text, "  ancestor {}", reference(&ancestor["ancestorRef"])).unwrap();
            conditions(&mut text, ancestor, "    ");
        }
    }
    text
}

#[test]
fn goldens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-status");
    let write = std::env::vars().any(|(name, _)| name == "MESH_GOLDEN_WRITE");
    let mut cases = 0;
    for case in fs::read_dir(&root).unwrap() {
        let directory = case.unwrap().path();
        let (world, _) = admit(&dir::read(&directory).unwrap())
            .unwrap_or_else(|findings| panic!("{}: {findings:#?}", directory.display()));
        let text = shown(&told(&world, &[], &Generations::default()));
        let expected = directory.join("expected.txt");
        if write {
            fs::write(&expected, &text).unwrap();
        }
        let known = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(known, text, "{}", directory.display());
        cases += 1;
    }
    assert!(cases >= 10, "{cases}");
}

const GATE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gate, namespace: edge}
spec:
  gatewayClassName: istio
  addresses: [{value: 10.0.0.1}]
  listeners: [{name: web, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
";

fn route(name: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  parentRefs: [{{name: gate, namespace: edge}}]\n  rules: {rest}\n"
    )
}

fn id(kind: Kind, namespace: &str, name: &str) -> ObjectId {
    ObjectId { kind, name: NamespacedName::new(namespace, name) }
}

#[test]
fn generations_count_changes_of_the_specification() {
    let of = |world: &World, generations: &Generations| {
        let all = told(world, &[], generations);
        all[&id(Kind::HttpRoute, "shop", "r")]["parents"][0]["conditions"][0]["observedGeneration"].as_i64()
    };
    let first = world(&format!("{GATE}{}", route("r", "[{backendRefs: [{name: a, port: 80}]}]")));
    let mut generations = Generations::default();
    generations.take(&first);
    assert_eq!(of(&first, &generations), Some(1));
    // Of another object.
    let more = format!("{GATE}{}{}", route("r", "[{backendRefs: [{name: a, port: 80}]}]"), route("s", "[]"));
    generations.take(&world(&more));
    assert_eq!(of(&world(&more), &generations), Some(1));
    // Of its labels.
    let labelled = more.replace("{name: r, namespace: shop}", "{name: r, namespace: shop, labels: {a: b}}");
    generations.take(&world(&labelled));
    assert_eq!(of(&world(&labelled), &generations), Some(1));
    let changed = labelled.replace("port: 80}]}]", "port: 81}]}]");
    generations.take(&world(&changed));
    assert_eq!(of(&world(&changed), &generations), Some(2));
    generations.take(&first);
    assert_eq!(of(&first, &generations), Some(3));
    // Made anew, it is another one.
    generations.take(&World::default());
    generations.take(&first);
    assert_eq!(of(&first, &generations), Some(1));
    // An API server counts itself.
    let counted = world(&more.replace("{name: r, namespace: shop}", "{name: r, namespace: shop, generation: 7}"));
    assert_eq!(of(&counted, &generations), Some(7));
}

#[test]
fn a_route_whose_newest_version_was_refused_says_so() {
    let world = world(&format!("{GATE}{}", route("r", "[{}]")));
    let route = id(Kind::HttpRoute, "shop", "r");
    let finding = |severity| Finding {
        object: route.to_string(),
        field: "spec.rules[0].timeouts.request".into(),
        ..Origin::file("a.yaml").finding(severity, "`x` is no duration")
    };
    let of = |findings: &[Finding]| told(&world, findings, &Generations::default())[&route]["parents"][0].clone();
    let said = of(&[finding(Severity::Error)]);
    let partly = &said["conditions"][2];
    assert_eq!(
        (&partly["type"], &partly["status"], &partly["reason"]),
        (&"PartiallyInvalid".into(), &"True".into(), &"UnsupportedValue".into())
    );
    let message = partly["message"].as_str().unwrap();
    assert!(message.starts_with("Fall Back") && message.contains("timeouts.request: `x` is no duration"), "{message}");
    assert_eq!(said["conditions"][0]["status"], "True");
    assert_eq!(list(&of(&[finding(Severity::Warning)]), "conditions").len(), 2);
}

#[test]
fn what_is_not_said_any_more_is_taken_away() {
    let text = format!(
        "{GATE}{}---\napiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: shop}}\n",
        route("r", "[]").replace("namespace: edge", "namespace: elsewhere")
    );
    let world = world(&text);
    let all = told(&world, &[], &Generations::default());
    let (gate, route, service) =
        (id(Kind::Gateway, "edge", "gate"), id(Kind::HttpRoute, "shop", "r"), id(Kind::Service, "shop", "s"));
    assert_eq!(all.keys().collect::<Vec<_>>(), [&gate], "nothing is said of what is not ours");
    let wanted = with_absent(&world, &all);
    assert_eq!(wanted[&route], serde_json::json!({"parents": []}));
    assert_eq!(wanted[&service], serde_json::json!({"conditions": [{"type": "istio.io/WaypointBound"}]}));
    let of_gate: Vec<&Value> =
        list(&wanted[&gate], "conditions").iter().filter(|one| one.get("status").is_none()).collect();
    assert_eq!(of_gate, [&serde_json::json!({"type": "InsecureFrontendValidationMode"})]);
}

#[test]
fn a_gateway_has_so_many_listeners_at_most() {
    let mut text = GATE.replace("  listeners:", "  allowedListeners: {namespaces: {from: All}}\n  listeners:");
    for set in 0..17 {
        write!(
            text,
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{name: set-{set:02}, namespace: edge}}\n\
             spec:\n  parentRef: {{name: gate}}\n  listeners:\n"
        )
        .unwrap();
        for port in 0..64 {
            writeln!(text, "  - {{name: p{port}, port: {}, protocol: TCP}}", 1000 + set * 64 + port).unwrap();
        }
    }
    let all = told(&world(&text), &[], &Generations::default());
    let of = |set: &str, at: usize| all[&id(Kind::ListenerSet, "edge", set)]["listeners"][at]["conditions"][1].clone();
    assert_eq!(of("set-15", 62)["reason"], "Accepted");
    assert_eq!(
        (&of("set-15", 63)["status"], &of("set-15", 63)["reason"]),
        (&"False".into(), &"TooManyListeners".into())
    );
    assert_eq!(of("set-16", 0)["reason"], "TooManyListeners");
    let gate = &all[&id(Kind::Gateway, "edge", "gate")];
    assert_eq!((&gate["attachedListenerSets"], &gate["conditions"][0]["status"]), (&16.into(), &"True".into()));
}

#[test]
fn thousands_of_routes_are_told_of() {
    const ROUTES: u64 = 2_000;
    let mut text = GATE.to_owned();
    for index in 0..ROUTES {
        text += &route(&format!("r{index}"), "[{backendRefs: [{name: s, port: 80}]}]");
    }
    let world = world(&text);
    let began = tokio::time::Instant::now();
    let all = told(&world, &[], &Generations::default());
    println!("{ROUTES} routes: {:?}", began.elapsed());
    assert_eq!(all[&id(Kind::Gateway, "edge", "gate")]["listeners"][0]["attachedRoutes"], ROUTES);
    assert_eq!(all.len() as u64, ROUTES + 1);
}

#[test]
fn features_are_sorted_and_distinct() {
    let names = features::FEATURES;
    assert!(names.is_sorted_by(|one, next| one < next) && names.len() <= 64, "{names:?}");
    for name in ["Gateway", "HTTPRoute", "GRPCRoute", "ReferenceGrant", "Mesh"] {
        assert!(names.contains(&name), "{name}");
    }
}

/// A host name, or none.
fn host() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![Just(None), Just(Some("a.com")), Just(Some("x.a.com")), Just(Some("*.a.com")), Just(Some("b.com"))]
}

#[derive(Debug, Clone)]
struct Drawn {
    kind: &'static str,
    namespace: &'static str,
    hosts: Vec<&'static str>,
    /// Gateway, section and port.
    parents: Vec<(&'static str, Option<u16>, Option<u16>)>,
    created: u8,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let kind = prop_oneof![Just("HTTPRoute"), Just("GRPCRoute"), Just("TLSRoute"), Just("TCPRoute")];
    let parent = (
        prop_oneof![Just("ours"), Just("theirs"), Just("nowhere")],
        prop::option::of(0_u16..4),
        prop::option::of(80_u16..83),
    );
    let hosts = prop::collection::vec(host().prop_map(|host| host.unwrap_or("c.com")), 0..3);
    (kind, prop_oneof![Just("edge"), Just("shop")], hosts, prop::collection::vec(parent, 0..3), 0_u8..3)
        .prop_map(|(kind, namespace, hosts, parents, created)| Drawn { kind, namespace, hosts, parents, created })
}

fn write_route(text: &mut String, index: usize, drawn: &Drawn) {
    let Drawn { kind, namespace, hosts, parents, created } = drawn;
    let mut hosts = hosts.clone();
    hosts.sort_unstable();
    hosts.dedup();
    if *kind == "TLSRoute" && hosts.is_empty() {
        hosts.push("a.com");
    }
    let hostnames = if *kind == "TCPRoute" { String::new() } else { format!("  hostnames: {hosts:?}\n") };
    writeln!(
        text,
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r{index}, namespace: {namespace}, \
         creationTimestamp: \"2026-01-0{}T00:00:00Z\"}}\nspec:\n{hostnames}  rules: [{{backendRefs: [{{name: s, port: 80}}]}}]\n  parentRefs:",
        created + 1
    )
    .unwrap();
    let mut seen = Vec::new();
    for (gateway, section, port) in parents {
        // Of references to one parent all or none may be narrowed; one each is enough here.
        if !seen.contains(gateway) {
            seen.push(*gateway);
            let section = section.map(|section| format!(", sectionName: l{section}")).unwrap_or_default();
            let port = port.map(|port| format!(", port: {port}")).unwrap_or_default();
            writeln!(text, "  - {{name: {gateway}, namespace: edge{section}{port}}}").unwrap();
        }
    }
    if seen.is_empty() {
        text.truncate(text.trim_end().len());
        text.push_str(" []\n");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_routes_and_listeners_say_agrees(
        listeners in prop::collection::vec((80_u16..83, prop_oneof![Just("HTTP"), Just("TCP"), Just("UDP"), Just("TLS")], host(), any::<bool>()), 1..5),
        routes in prop::collection::vec(drawn(), 0..8),
    ) {
        let mut text = String::new();
        for (name, class) in [("ours", "istio"), ("theirs", "else")] {
            writeln!(text, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: edge}}\nspec:\n  gatewayClassName: {class}\n  listeners:").unwrap();
            let mut taken = Vec::new();
            for (index, (port, protocol, hostname, all)) in listeners.iter().enumerate() {
                let hostname = hostname.filter(|_| matches!(*protocol, "HTTP" | "TLS"));
                if taken.contains(&(port, protocol, hostname)) {
                    continue;
                }
                taken.push((port, protocol, hostname));
                let hostname = hostname.map(|name| format!(", hostname: \"{name}\"")).unwrap_or_default();
                let tls = if *protocol == "TLS" { ", tls: {mode: Passthrough}" } else { "" };
                let from = if *all { "All" } else { "Same" };
                writeln!(text, "  - {{name: l{index}, port: {port}, protocol: {protocol}{hostname}{tls}, allowedRoutes: {{namespaces: {{from: {from}}}}}}}").unwrap();
            }
        }
        routes.iter().enumerate().for_each(|(index, drawn)| write_route(&mut text, index, drawn));
        let world = world(&text);
        let all = told(&world, &[], &Generations::default());
        prop_assert!(!all.contains_key(&id(Kind::Gateway, "edge", "theirs")));

        // Each reference to a parent of ours has one entry, and no other has any.
        let mut accepted = 0;
        for (index, drawn) in routes.iter().enumerate() {
            let kind = Kind::of("gateway.networking.k8s.io", drawn.kind).unwrap();
            let status = all.get(&id(kind, drawn.namespace, &format!("r{index}")));
            let entries = status.map(|status| list(status, "parents")).unwrap_or_default();
            prop_assert_eq!(entries.len(), usize::from(drawn.parents.iter().any(|(gateway, ..)| *gateway == "ours")));
            for entry in entries {
                prop_assert_eq!(&entry["parentRef"]["name"], "ours");
                let of = list(entry, "conditions");
                let types: Vec<&str> = of.iter().map(|one| one["type"].as_str().unwrap()).collect();
                prop_assert_eq!(types, ["Accepted", "ResolvedRefs"]);
                accepted += usize::from(of[0]["status"] == "True");
            }
        }
        // Who is accepted is attached somewhere, and who is attached is accepted.
        let gate = &all[&id(Kind::Gateway, "edge", "ours")];
        let attached = list(gate, "listeners").iter().map(|one| one["attachedRoutes"].as_u64().unwrap());
        let (sum, most) = (attached.clone().sum::<u64>(), attached.max().unwrap_or_default());
        prop_assert!(sum >= accepted as u64 && most <= accepted as u64, "{accepted} accepted, {sum} attached, {most} at most");
        let whole = crate::attach::Whole::new(&world, "cluster.local");
        let attachment = crate::attach::attach(&whole, &place().controller, &NamespacedName::new("edge", "ours")).unwrap();
        let named: std::collections::BTreeSet<&ObjectId> =
            attachment.listeners.iter().flat_map(|one| &one.routes).map(|one| &one.route).collect();
        prop_assert_eq!(named.len(), accepted);

        // No condition is without a reason of the form that the API takes.
        let is_reason = |text: &str| {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b',' | b':');
            text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic()) && text.bytes().all(word)
        };
        let parts = all.values().flat_map(|status| {
            list(status, "listeners").iter().chain(list(status, "parents")).chain(std::iter::once(status))
        });
        for one in parts.flat_map(|part| list(part, "conditions")) {
            prop_assert!(is_reason(one["reason"].as_str().unwrap()), "{one}");
            prop_assert!(one["observedGeneration"] == 1, "{one}");
        }
    }
}
