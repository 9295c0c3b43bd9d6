use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Admission, PolicyFile};
use crate::admission::inventory::Inventory;
use crate::admission::judge::{Judge, Operation, Review};
use crate::finding::Origin;

fn policy(path: &str, text: &str) -> PolicyFile {
    PolicyFile { path: PathBuf::from(path), text: Ok(text.to_owned()) }
}

fn with(text: &str) -> Admission {
    let admission = Admission::closed();
    admission.take(&[policy("p.rego", text)]).unwrap();
    admission
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}})
}

fn said(admission: &Admission, object: &Value) -> Vec<String> {
    said_among(admission, object, &[])
}

fn said_among(admission: &Admission, object: &Value, others: &[Value]) -> Vec<String> {
    let origin = Origin::file("a.yaml");
    let inventory: Inventory = others.iter().cloned().map(Arc::new).collect();
    let findings = admission.judge(&Review::create(object, &origin), &inventory);
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn both_syntaxes_all_rules_and_all_shapes_of_messages() {
    let bad = service("bad");
    for (text, wanted) in [
        (
            "package a\ndeny contains \"no\" if input.request.object.metadata.name == \"bad\"",
            "error: no (policy p.rego: data.a.deny)",
        ),
        (
            "package a\ndeny[msg] { input.review.object.metadata.name == \"bad\"; msg := \"no\" }",
            "error: no (policy p.rego: data.a.deny)",
        ),
        ("package a.b[\"1.0\"]\nwarn contains \"so\" if true", "warning: so (policy p.rego: data.a.b[\"1.0\"].warn)"),
        (
            "package a\nviolation[{\"msg\": msg, \"details\": {}}] { msg := \"no\" }",
            "error: no (policy p.rego: data.a.violation)",
        ),
        (
            "package a\nimport rego.v1\ndeny contains x if { some x in [\"no\"] }",
            "error: no (policy p.rego: data.a.deny)",
        ),
        ("package a\ndeny := \"no\"", "error: no (policy p.rego: data.a.deny)"),
        ("package a\ndeny if true", "error: the rule holds, and says nothing more (policy p.rego: data.a.deny)"),
        ("package a\ndeny contains input.request.operation if true", "error: CREATE (policy p.rego: data.a.deny)"),
        (
            "package a\ndeny contains sprintf(\"%v/%v %v\", [input.request.kind.group, input.request.kind.kind, input.request.namespace]) if true",
            "error: /Service shop (policy p.rego: data.a.deny)",
        ),
    ] {
        assert_eq!(said(&with(text), &bad), [format!("a.yaml:1: {wanted}")], "{text}");
    }
    for text in [
        "package a\ndeny contains \"no\" if input.request.object.metadata.name == \"other\"",
        "package a\ndefault deny := false",
        "package a\nallow := false",
        "package a\ndeny contains \"no\" if to_number(\"x\") > 1",
        "package a\ndeny contains \"no\" if input.request.userInfo.username",
        "package a\nimport data.lib\ndeny contains \"no\" if lib.f(1)\n",
    ] {
        let files = [policy("p.rego", text), policy("lib.rego", "package lib\nf(x) if x == 2")];
        let admission = Admission::closed();
        admission.take(&files).unwrap();
        assert_eq!(said(&admission, &bad), [""; 0], "{text}");
    }
}

#[test]
fn what_cannot_be_used_is_named_with_its_line() {
    for (text, wanted) in [
        ("package a\ndeny[", "p.rego:2: error: the policy cannot be used: "),
        ("package a\n\ndeny contains x if y > 1", "p.rego:3: error: the policy cannot be used: "),
        (
            "package a\ndeny contains \"a\" if f(1)\nf(x) if time.now_ns() > x",
            "p.rego:1: error: the policy cannot be used: there is no function `time.now_ns`",
        ),
        (
            "package a\ndeny contains \"a\" if http.send({})",
            "p.rego:1: error: the policy cannot be used: there is no function `http.send`",
        ),
        (
            "package a\ndeny contains \"a\" if net.cidr_expand(\"0.0.0.0/0\")",
            "p.rego:1: error: the policy cannot be used: there is no function `net.cidr_expand`",
        ),
        ("package a\ndeny contains \"a\" if deny", "p.rego:"),
        ("deny contains 1", "p.rego:1: error: the policy cannot be used: "),
    ] {
        let findings = Admission::closed().take(&[policy("p.rego", text)]).unwrap_err();
        let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|finding| finding.starts_with(wanted)), "{wanted} is not in {found:#?}");
    }
}

#[test]
fn it_fails_closed() {
    let admission = Admission::closed();
    let good = service("good");
    assert!(said(&admission, &good)[0].contains("until there are, all is refused"));
    assert!(admission.take(&[policy("p.rego", "package a\ndeny[")]).is_err());
    assert!(said(&admission, &good)[0].contains("until there are, all is refused"), "still");
    let origin = Origin::default();
    assert_eq!(admission.judge_all(&[Review::create(&good, &origin)], &Inventory::default()).concat().len(), 1);
    admission.take(&[policy("p.rego", "package a\ndeny contains \"no\" if true")]).unwrap();
    assert!(said(&admission, &good)[0].contains("no (policy p.rego"));
    let unreadable = PolicyFile { path: "q.rego".into(), text: Err("it is a secret".to_owned()) };
    let refused = admission.take(&[unreadable]).unwrap_err();
    assert_eq!(refused[0].to_string(), "q.rego:1: error: the policy cannot be used: it is a secret");
    assert!(said(&admission, &good)[0].contains("no (policy p.rego"), "the last good ones");
    admission.take(&[]).unwrap();
    assert_eq!(said(&admission, &good), [""; 0]);
}

#[test]
fn a_policy_without_end_refuses_and_is_named() {
    let many = "package a\nr := numbers.range(1, 3000)\ndeny contains \"x\" if { input.request; some i in r; some j in r; i + j < 0 }";
    let hidden = "package a\nr := numbers.range(1, 3000)\nf(x) if { some i in r; some j in r; i + j < x }\ndeny contains \"x\" if { input.request; f(0) }";
    for text in [
        many,
        hidden,
        "package a\ndeny contains \"x\" if { input.request; count(numbers.range(0, 1000000000000)) < 5 }",
        "package a\nf(x) if count(numbers.range(0, x)) < 5\ndeny contains \"x\" if { input.request; f(1000000000000) }",
        "package a\ndeny contains \"x\" if { input.request; bits.lsh(1, 100000000000) > 1 }",
    ] {
        let found = said(&with(text), &service("a"));
        let [only] = found.as_slice() else { panic!("{text}: {found:?}") };
        assert!(only.contains("policy p.rego: data.a.deny cannot judge it, which refuses it"), "{only}");
    }
    let endless =
        "package a\nr := numbers.range(1, 3000)\ndeny contains \"x\" if { some i in r; some j in r; i + j < 0 }";
    let refused = Admission::closed().take(&[policy("p.rego", endless)]).unwrap_err();
    assert!(refused[0].to_string().contains("more than 2000000 steps"), "{}", refused[0]);
}

#[test]
fn rules_see_what_is_in_force() {
    let admission = with(
        "package a\ndeny contains sprintf(\"%v has %v too\", [name, port]) if {\n some name, other in data.mesh.services.shop\n name != input.request.name\n port := other.spec.port\n port == input.request.object.spec.port\n}\ndeny contains \"no namespace\" if not data.mesh.namespaces[input.request.namespace]",
    );
    let with_port = |name: &str, port: u32| {
        let mut service = service(name);
        service["spec"] = json!({"port": port});
        service
    };
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let others = [with_port("a", 80), with_port("b", 81), namespace];
    assert!(admission.sees_others());
    assert_eq!(said(&admission, &with_port("b", 82)).len(), 1, "there is nothing");
    assert_eq!(said_among(&admission, &with_port("b", 82), &others), [""; 0]);
    let taken = said_among(&admission, &with_port("b", 80), &others);
    assert_eq!(taken, ["a.yaml:1: error: a has 80 too (policy p.rego: data.a.deny)"]);
    // Others than before, one by one.
    let moved = [with_port("a", 83), others[2].clone()];
    assert_eq!(said_among(&admission, &with_port("b", 80), &moved), [""; 0]);
    assert_eq!(said_among(&admission, &with_port("b", 83), &moved).len(), 1);
    assert_eq!(said_among(&admission, &with_port("b", 83), &others[..0]).len(), 1, "no namespace");
}

/// As Gatekeeper has it.
#[test]
fn the_inventory_is_by_namespace_version_kind_and_name() {
    let admission = with(
        "package a
violation[{\"msg\": msg}] { other := data.inventory.namespace[ns][\"networking.istio.io/v1\"].ServiceEntry[name]; msg := sprintf(\"%v/%v %v\", [ns, name, other.spec.hosts[0]]) }\nviolation[{\"msg\": msg}] { data.inventory.cluster[\"v1\"].Namespace[name]; msg := name }",
    );
    let entry = json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "e"}, "spec": {"hosts": ["x"]}});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let (both, asked) = ([entry.clone(), namespace], service("a"));
    let of = |message: &str| format!("a.yaml:1: error: {message} (policy p.rego: data.a.violation)");
    assert_eq!(said_among(&admission, &asked, &both), [of("default/e x"), of("shop")]);
    // Another version of the same object leaves nothing behind.
    let mut other = entry;
    other["apiVersion"] = "networking.istio.io/v1beta1".into();
    assert_eq!(said_among(&admission, &asked, &[other]), [""; 0]);
}

#[test]
fn only_what_policies_look_at_is_put_together_for_them() {
    for (text, wanted) in [
        ("package a\ndeny contains \"x\" if input.request.name == \"data\"", false),
        ("package a\nimport data.lib\ndeny contains \"x\" if lib.f(1)", false),
        ("package a\ndeny contains \"x\" if data.lib.f(1)", false),
        ("package a\ndeny contains \"x\" if data.inventory.cluster", true),
        ("package a\ndeny contains \"x\" if data[\"mesh\"].services", true),
        ("package a\nimport data.mesh.services as all\ndeny contains \"x\" if all.shop", true),
        ("package a\nimport data.inventory\ndeny contains \"x\" if inventory.cluster", true),
        ("package a\ndeny contains \"x\" if { some key; data[key].cluster }", true),
        ("package a\ndeny contains \"x\" if { all := data; all.inventory }", true),
        ("package a\nf(x) if x.cluster\ndeny contains \"x\" if f(data.inventory)", true),
    ] {
        let admission = Admission::closed();
        admission.take(&[policy("p.rego", text), policy("lib.rego", "package lib\nf(x) if x == 2")]).unwrap();
        assert_eq!(admission.sees_others(), wanted, "{text}");
    }
}

#[test]
fn what_goes_is_judged_too() {
    let admission = with(
        "package a\ndeny contains \"it stays\" if { input.request.operation == \"DELETE\"; input.request.oldObject.metadata.name == input.request.name; input.request.object == null }",
    );
    let (old, origin) = (service("a"), Origin::default());
    let review = Review { operation: Operation::Delete, object: None, old: Some(&old), user: None, origin: &origin };
    let findings = admission.judge(&review, &Inventory::default());
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].object, "Service shop/a");
    // Rules that speak of no operation were written for what comes. Those of others may say it for them.
    let lib = "package lib\ngoes(request) if request.operation == \"DELETE\"";
    for (text, wanted) in [
        ("package a\ndeny contains \"no owner\" if not input.request.object.metadata.labels.owner", 0),
        ("package a\ndeny contains \"it stays\" if input.request.oldObject", 1),
        ("package a\ndeny contains \"it stays\" if object.get(input.request, \"oldObject\", null) != null", 1),
        ("package a\nimport data.lib\ndeny contains \"it stays\" if lib.goes(input.request)", 1),
        ("package a\ndeny contains \"it stays\" if input.request.object == null", 0),
    ] {
        let admission = Admission::closed();
        admission.take(&[policy("p.rego", text), policy("lib.rego", lib)]).unwrap();
        assert_eq!(admission.judge(&review, &Inventory::default()).len(), wanted, "{text}");
    }
}
