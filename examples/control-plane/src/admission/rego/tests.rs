use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Admission, PolicyFile};
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
    let origin = Origin::file("a.yaml");
    admission.judge(&Review::create(object, &origin)).iter().map(|finding| finding.to_string()).collect()
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
    assert_eq!(admission.judge_all(&[Review::create(&good, &origin)]).len(), 1);
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
    let in_force = [with_port("a", 80), with_port("b", 81), namespace.clone()];
    assert_eq!(said(&admission, &with_port("b", 82)).len(), 1, "nothing is in force yet");
    admission.put_in_force(in_force.iter()).unwrap();
    assert_eq!(said(&admission, &with_port("b", 82)), [""; 0]);
    let taken = said(&admission, &with_port("b", 80));
    assert_eq!(taken, ["a.yaml:1: error: a has 80 too (policy p.rego: data.a.deny)"]);
    // Together with others it sees those, and not what was in force.
    let (one, two) = (with_port("c", 90), with_port("d", 90));
    let origin = Origin::file("b.yaml");
    let reviews: Vec<Review<'_>> = [&one, &two, &namespace].map(|object| Review::create(object, &origin)).into();
    let messages: Vec<String> = admission.judge_all(&reviews).iter().map(|finding| finding.object.clone()).collect();
    assert_eq!(messages, ["Service shop/c", "Service shop/d", "Namespace shop"]);
    assert_eq!(said(&admission, &with_port("c", 90)), [""; 0], "that was no more than a question");
}

#[test]
fn what_goes_is_judged_too() {
    let admission = with(
        "package a\ndeny contains \"it stays\" if { input.request.operation == \"DELETE\"; input.request.oldObject.metadata.name == input.request.name; input.request.object == null }",
    );
    let (old, origin) = (service("a"), Origin::default());
    let review = Review { operation: Operation::Delete, object: None, old: Some(&old), user: None, origin: &origin };
    let findings = admission.judge(&review);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].object, "Service shop/a");
}
