//! Whether what is reported is what every single question gives.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use proptest::prelude::*;

use super::super::mesh::Mesh;
use super::super::outcome::Outcome;
use super::super::walk::{Addressee, Client};
use super::clients::Clients;
use super::compare::Pair;
use super::shift::Shift;
use super::subjects::{self, Name};
use crate::admission::admit;
use crate::source::dir::SourceFile;
use crate::translate::Place;

/// A small mesh, by choices.
#[derive(Debug, Clone)]
struct Spec {
    ambient: [bool; 2],
    accounts: [u8; 4],
    capture: [u8; 4],
    selector: bool,
    waypoint: [bool; 2],
    gateway: bool,
    protocol: u8,
    l4: Vec<L4>,
    l7: Vec<L7>,
    strict: Option<(u8, bool)>,
    route: Option<(u8, u8)>,
    lets_in: bool,
}

#[derive(Debug, Clone)]
struct L4 {
    namespace: u8,
    selector: bool,
    deny: bool,
    from: u8,
    port: u8,
}

#[derive(Debug, Clone)]
struct L7 {
    deny: bool,
    from: u8,
    paths: u8,
    method: u8,
    when: u8,
    on_gateway: bool,
}

const PODS: [(&str, &str, &str); 4] =
    [("a", "web", "10.0.0.1"), ("a", "pay-1", "10.0.0.2"), ("a", "pay-2", "10.0.1.3"), ("b", "tools", "10.0.1.4")];

impl Spec {
    fn manifests(&self) -> String {
        let mut text = String::new();
        for (name, ambient) in ["a", "b"].into_iter().zip(self.ambient) {
            let mode = if ambient { "ambient" } else { "none" };
            let _ = write!(
                text,
                "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{istio.io/dataplane-mode: {mode}}}}}\n---\n"
            );
        }
        for (((namespace, name, ip), account), capture) in PODS.into_iter().zip(self.accounts).zip(self.capture) {
            let app = name.split('-').next().unwrap();
            let mode = match capture {
                0 => ", istio.io/dataplane-mode: ambient",
                1 => ", istio.io/dataplane-mode: none",
                _ => "",
            };
            let waypoint = match self.waypoint[1] && app == "pay" {
                true => ", istio.io/use-waypoint: wp",
                false => "",
            };
            let _ = write!(
                text,
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: {app}{mode}{waypoint}}}}}\n\
                 spec: {{serviceAccountName: sa{account}}}\n\
                 status: {{podIP: {ip}, conditions: [{{type: Ready, status: \"True\"}}]}}\n---\n"
            );
        }
        let app = if self.selector { "pay" } else { "web" };
        let waypoint = if self.waypoint[0] { "{istio.io/use-waypoint: wp}" } else { "{}" };
        let protocol = ["http", "tcp", "unknown"][usize::from(self.protocol) % 3];
        let _ = write!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata: {{name: pay, namespace: a, labels: {waypoint}}}\n\
             spec: {{clusterIP: 10.1.0.1, selector: {{app: {app}}}, ports: [{{name: {protocol}, port: 80, targetPort: 8080}}]}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{name: other, namespace: b}}\n\
             spec: {{clusterIP: 10.1.0.2, selector: {{app: tools}}, ports: [{{name: http, port: 80}}]}}\n---\n"
        );
        if self.gateway {
            text.push_str(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: wp, namespace: a, labels: {istio.io/waypoint-for: all}}\n\
                 spec: {gatewayClassName: istio-waypoint, addresses: [{type: IPAddress, value: 10.0.0.100}], \
                 listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n---\n\
                 apiVersion: v1\nkind: Pod\nmetadata: {name: wp-1, namespace: a, labels: {gateway.networking.k8s.io/gateway-name: wp}}\n\
                 spec: {serviceAccountName: wp}\nstatus: {podIP: 10.0.0.100, conditions: [{type: Ready, status: \"True\"}]}\n---\n",
            );
        }
        for (at, policy) in self.l4.iter().enumerate() {
            policy.write(at, &mut text);
        }
        if self.lets_in {
            text.push_str(
                "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: lets-in, namespace: a}\n\
                 spec: {rules: [{from: [{source: {serviceAccounts: [a/wp]}}]}]}\n---\n",
            );
        }
        for (at, policy) in self.l7.iter().enumerate() {
            policy.write(at, &mut text);
        }
        if let Some((namespace, strict)) = self.strict {
            let namespace = ["a", "b", "istio-system"][usize::from(namespace) % 3];
            let mode = if strict { "STRICT" } else { "PERMISSIVE" };
            let _ = write!(
                text,
                "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: default, namespace: {namespace}}}\n\
                 spec: {{mtls: {{mode: {mode}}}}}\n---\n"
            );
        }
        if let Some((condition, weight)) = self.route {
            let condition = match condition % 4 {
                0 => "",
                1 => "matches: [{headers: [{name: x-beta, value: \"1\"}]}], ",
                2 => "matches: [{path: {type: PathPrefix, value: /cart}}], ",
                _ => "matches: [{method: POST}], ",
            };
            let _ = write!(
                text,
                "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: route, namespace: a}}\n\
                 spec: {{parentRefs: [{{group: \"\", kind: Service, name: pay}}], rules: [{{{condition}backendRefs: [\
                 {{name: pay, port: 80, weight: {weight}}}, {{name: other, namespace: b, port: 80, weight: 1}}]}}]}}\n---\n"
            );
        }
        text
    }

    fn mesh(&self) -> Mesh {
        let text = self.manifests();
        let files = [SourceFile { path: "mesh.yaml".into(), text: Ok(text.clone()) }];
        let (world, _) = admit(&files).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"));
        let place = Place::new("cluster.local".parse().unwrap(), "c");
        Mesh::new(&world, &place)
    }
}

fn from(choice: u8, namespace: &str) -> String {
    let source = match choice % 8 {
        0 => return String::new(),
        1 => "principals: [cluster.local/ns/a/sa/sa0]".to_owned(),
        2 => "principals: [\"*/sa/sa1\"]".to_owned(),
        3 => "namespaces: [b]".to_owned(),
        4 => "notNamespaces: [a]".to_owned(),
        5 => format!("serviceAccounts: [{namespace}/sa1]"),
        6 => "ipBlocks: [10.0.0.0/24]".to_owned(),
        _ => "notPrincipals: [cluster.local/ns/a/sa/sa1], notIpBlocks: [10.0.1.0/24]".to_owned(),
    };
    format!("from: [{{source: {{{source}}}}}], ")
}

impl L4 {
    fn write(&self, at: usize, text: &mut String) {
        let namespace = ["a", "b", "istio-system"][usize::from(self.namespace) % 3];
        let selector = if self.selector { "selector: {matchLabels: {app: pay}}, " } else { "" };
        let action = if self.deny { "DENY" } else { "ALLOW" };
        let to = match self.port % 4 {
            0 => "",
            1 => "to: [{operation: {ports: [\"8080\"]}}]",
            2 => "to: [{operation: {notPorts: [\"80\"]}}]",
            _ => "when: [{key: destination.ip, values: [10.0.0.0/24]}]",
        };
        let from = from(self.from, if namespace == "b" { "b" } else { "a" });
        let _ = write!(
            text,
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: l4-{at}, namespace: {namespace}}}\n\
             spec: {{{selector}action: {action}, rules: [{{{from}{to}}}]}}\n---\n"
        );
    }
}

impl L7 {
    fn write(&self, at: usize, text: &mut String) {
        let action = if self.deny { "DENY" } else { "ALLOW" };
        let target = match self.on_gateway {
            true => "{group: gateway.networking.k8s.io, kind: Gateway, name: wp}",
            false => "{kind: Service, name: pay}",
        };
        let paths =
            ["", "paths: [\"/admin/*\"]", "paths: [/cart], ", "notPaths: [\"/a*\"]"][usize::from(self.paths) % 4];
        let method = ["", "methods: [GET]", "notMethods: [POST]"][usize::from(self.method) % 3];
        let said: Vec<&str> =
            [paths.trim_end_matches(", "), method].into_iter().filter(|said| !said.is_empty()).collect();
        let to =
            if said.is_empty() { String::new() } else { format!("to: [{{operation: {{{}}}}}], ", said.join(", ")) };
        let when = match self.when % 3 {
            0 => "",
            1 => "when: [{key: \"request.headers[x-team]\", values: [red]}]",
            _ => "when: [{key: \"request.headers[x-team]\", notValues: [red]}]",
        };
        let from = from(self.from, "a");
        let _ = write!(
            text,
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: l7-{at}, namespace: a}}\n\
             spec: {{targetRefs: [{target}], action: {action}, rules: [{{{from}{to}{when}}}]}}\n---\n"
        );
    }
}

fn l4() -> impl Strategy<Value = L4> {
    (any::<u8>(), any::<bool>(), any::<bool>(), any::<u8>(), any::<u8>())
        .prop_map(|(namespace, selector, deny, from, port)| L4 { namespace, selector, deny, from, port })
}

fn l7() -> impl Strategy<Value = L7> {
    (any::<bool>(), any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>(), prop::bool::weighted(0.2))
        .prop_map(|(deny, from, paths, method, when, on_gateway)| L7 { deny, from, paths, method, when, on_gateway })
}

fn spec() -> impl Strategy<Value = Spec> {
    let mesh = (
        [prop::bool::weighted(0.9), prop::bool::weighted(0.9)],
        [0..2_u8, 0..2_u8, 0..2_u8, 0..2_u8],
        [0..6_u8, 0..6_u8, 0..6_u8, 0..6_u8],
        prop::bool::weighted(0.8),
        [prop::bool::weighted(0.7), prop::bool::weighted(0.3)],
        prop::bool::weighted(0.8),
        any::<u8>(),
    );
    let policies = (
        prop::collection::vec(l4(), 0..3),
        prop::collection::vec(l7(), 0..3),
        prop::option::of((any::<u8>(), any::<bool>())),
        prop::option::of((any::<u8>(), 0..3_u8)),
        any::<bool>(),
    );
    (mesh, policies).prop_map(|(mesh, (l4, l7, strict, route, lets_in))| {
        let (ambient, accounts, capture, selector, waypoint, gateway, protocol) = mesh;
        Spec { ambient, accounts, capture, selector, waypoint, gateway, protocol, l4, l7, strict, route, lets_in }
    })
}

/// A mesh, and the same with some of its choices made otherwise.
fn change() -> impl Strategy<Value = (Spec, Spec)> {
    (spec(), spec(), any::<u16>()).prop_map(|(old, other, mask)| {
        let mut new = old.clone();
        let is = |bit: u32| mask >> bit & 1 == 1;
        let mut take = |bit: u32, set: &mut dyn FnMut(&mut Spec)| {
            if is(bit) {
                set(&mut new);
            }
        };
        take(0, &mut |new| new.l4.clone_from(&other.l4));
        take(1, &mut |new| new.l7.clone_from(&other.l7));
        take(2, &mut |new| new.strict = other.strict);
        take(3, &mut |new| new.route = other.route);
        take(4, &mut |new| new.accounts = other.accounts);
        take(5, &mut |new| new.waypoint = other.waypoint);
        take(6, &mut |new| new.gateway = other.gateway);
        take(7, &mut |new| new.capture = other.capture);
        take(8, &mut |new| new.ambient = other.ambient);
        take(9, &mut |new| new.selector = other.selector);
        take(10, &mut |new| new.protocol = other.protocol);
        take(11, &mut |new| new.lets_in = other.lets_in);
        (old, new)
    })
}

/// What is reported, by number of the client, what it addresses, and number of the request.
type Found = HashMap<(usize, Addressee, u16), Shift>;

fn check(old: &Mesh, new: &Mesh) -> Result<usize, TestCaseError> {
    let clients = Clients::of(old, new);
    let subjects = subjects::all(old, new);
    let pair = Pair::new(old, new);
    let rows = pair.rows(&clients, &subjects);
    prop_assert!(rows.cut.is_empty());
    let mut found = Found::new();
    for row in &rows.rows {
        let subject = &subjects[row.subject];
        let addressees: Vec<Addressee> = match &subject.name {
            Name::Service(key) => vec![Addressee::Service(key.clone(), row.port)],
            Name::Workloads(uids) => uids.iter().map(|uid| Addressee::Workload(uid.clone(), row.port)).collect(),
        };
        for addressee in addressees {
            for group in &row.groups {
                for probe in &row.probes {
                    let twice = found.insert((*group, addressee.clone(), *probe), row.shift.clone());
                    prop_assert!(twice.is_none(), "one thing is said once");
                }
            }
        }
    }
    let reported = found.len();
    // Each workload by itself, and those who are made up.
    let mut everybody: Vec<(usize, Client, Client)> = Vec::new();
    for (number, group) in clients.groups.iter().enumerate() {
        for uid in &group.members {
            let client = |mesh: &Mesh| Client::of(mesh.catalog.workload(uid.as_str()).unwrap());
            everybody.push((number, client(old), client(new)));
        }
        if group.members.is_empty() {
            everybody.push((number, group.old.clone(), group.new.clone()));
        }
    }
    let mut ends: BTreeMap<Addressee, bool> = BTreeMap::new();
    let mut services = Vec::new();
    for subject in &subjects {
        for port in &subject.ports {
            let probes = pair.probes(&clients, subject, *port);
            let addressees: Vec<Addressee> = match &subject.name {
                Name::Service(key) => vec![Addressee::Service(key.clone(), *port)],
                Name::Workloads(uids) => uids.iter().map(|uid| Addressee::Workload(uid.clone(), *port)).collect(),
            };
            for addressee in addressees {
                for (number, before, after) in &everybody {
                    for (at, probe) in (0_u16..).zip(&probes.all) {
                        let outcomes: [Outcome; 2] = [
                            old.judge(before, &addressee, probe.as_ref()),
                            new.judge(after, &addressee, probe.as_ref()),
                        ];
                        let shift = Shift::between(&outcomes[0], &outcomes[1]);
                        let said = found.get(&(*number, addressee.clone(), at));
                        if said.is_none() && shift.is_some() && matches!(addressee, Addressee::Service(..)) {
                            services.push((addressee.clone(), before.clone(), after.clone()));
                            continue;
                        }
                        if shift.is_some() {
                            ends.insert(addressee.clone(), true);
                        }
                        prop_assert_eq!(said, shift.as_ref(), "{:?} {:?} {:?}", before, addressee, probe);
                    }
                }
            }
        }
    }
    // A service of which nothing is said goes to the same endpoints, and of one of these something is said.
    for (addressee, before, after) in services {
        let (old_plan, new_plan) = (old.plan(&before, &addressee), new.plan(&after, &addressee));
        let ends_of: Vec<_> = old_plan.steps.iter().map(|step| step.endpoint()).collect();
        prop_assert_eq!(&ends_of, &new_plan.steps.iter().map(|step| step.endpoint()).collect::<Vec<_>>());
        let said = ends_of
            .iter()
            .flatten()
            .any(|(uid, to)| ends.contains_key(&Addressee::Workload((*uid).clone(), to.port())));
        prop_assert!(said, "{:?} {:?} {:?}", addressee, before, ends_of);
    }
    Ok(reported)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missing_and_nothing_is_made_up((old, new) in change()) {
        check(&old.mesh(), &new.mesh())?;
    }

    #[test]
    fn a_world_does_not_differ_from_itself(spec in spec()) {
        prop_assert_eq!(check(&spec.mesh(), &spec.mesh())?, 0);
    }
}
