use std::path::PathBuf;

use super::admit;
use crate::source::dir::SourceFile;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: PathBuf::from(path), text: Ok(text.to_owned()) }
}

fn findings(text: &str) -> Vec<String> {
    match admit(&[file("a.yaml", text)]) {
        Ok((_, findings)) | Err(findings) => findings.iter().map(ToString::to_string).collect(),
    }
}

const POLICY: &str =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: ns}\n";

#[test]
fn what_is_wrong_is_named_with_file_and_line() {
    for (text, wanted) in [
        ("a: [", "a.yaml:1: error:"),
        ("kind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 99999}]}\n", "a.yaml:3: error: "),
        ("# nothing\n---\nmetadata: {name: a}\n", "a.yaml:3: error: a document without `kind`"),
        (
            "kind: Pod\nmetadata: {name: a}\nstatus: {podIPs: [{ip: x}]}\n",
            "a.yaml:1: error: status.podIPs: `x` is no IP address",
        ),
        (
            "kind: Service\nmetadata: {name: a}\nspec: {clusterIP: x}\n",
            "a.yaml:1: error: spec.clusterIP: `x` is no IP address",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
            "a.yaml:1: warning: `v1 ConfigMap` has no effect here",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: a}\n",
            "a.yaml:1: error: security kind `RequestAuthentication` is not supported; it would not be enforced",
        ),
        (
            "kind: Pod\nmetadata: {name: a}\n---\nkind: Pod\nmetadata: {name: a}\n",
            "a.yaml:4: error: Pod `default/a` stands already at a.yaml:1",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec: {hosts: ['a b']}\n",
            "a.yaml:1: error: spec.hosts: `a b` is no host name",
        ),
    ] {
        let found = findings(text);
        assert!(found.iter().any(|finding| finding.starts_with(wanted)), "{wanted} is not in {found:#?}");
    }
}

#[test]
fn security_kinds_are_strict() {
    for (spec, wanted) in [
        (
            "spec:\n  rules:\n  - from:\n    - source: {principalss: [a]}\n",
            "a.yaml:7: error: unknown field `principalss`",
        ),
        ("spec: {action: DENYY}\n", "spec.action: `DENYY` is not enforced at L4"),
        ("spec: {action: CUSTOM}\n", "spec.action: `CUSTOM` is not enforced at L4"),
        (
            "spec: {rules: [{to: [{operation: {ports: ['80a']}}]}]}\n",
            "spec.rules[0].to.operation.ports: `80a` is no port",
        ),
        (
            "spec: {rules: [{from: [{source: {ipBlocks: [x]}}]}]}\n",
            "spec.rules[0].from.source.ipBlocks: `x` is neither",
        ),
        (
            "spec: {rules: [{from: [{source: {principals: ['spiffe://a/b']}}]}]}\n",
            "principals are written without `spiffe://`",
        ),
        (
            "spec: {action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}\n",
            "spec.rules[0] denies by `paths`, which only a waypoint can judge; it would deny nothing",
        ),
        (
            "spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}\n",
            "warning: spec.rules[0] has no effect at L4: `methods`",
        ),
        (
            "spec: {rules: [{from: [{source: {}}]}]}\n",
            "spec.rules[0].from[0].source: says nothing; it would match nobody",
        ),
        ("spec: {rules: [{from: []}]}\n", "spec.rules[0]: an empty list; leave the field out to match everything"),
        ("spec: {rules: [{to: []}]}\n", "spec.rules[0]: an empty list; leave the field out to match everything"),
        ("spec:\n  rules:\n  - from:\n", "spec.rules[0]: an empty list; leave the field out to match everything"),
    ] {
        let found = findings(&format!("{POLICY}{spec}"));
        assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}");
    }
    let port = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {portLevelMtls: {x: {mode: STRICT}}}\n";
    assert!(findings(port)[0].contains("keys are port numbers"));
}

#[test]
fn one_bad_file_holds_back_the_whole_change() {
    let good = file("good.yaml", "kind: Namespace\nmetadata: {name: a}\n");
    assert!(admit(std::slice::from_ref(&good)).is_ok());
    assert!(admit(&[good.clone(), file("bad.yaml", "kind: [")]).is_err());
    let unreadable = SourceFile { path: "u.yaml".into(), text: Err("no UTF-8".into()) };
    let refused = admit(&[good, unreadable]).unwrap_err();
    assert_eq!(refused[0].to_string(), "u.yaml:1: error: no UTF-8");
}

#[test]
fn lists_are_read_item_by_item() {
    let list = "kind: List\nitems:\n- {kind: Namespace, metadata: {name: a}}\n- {kind: Service, apiVersion: v1, metadata: {name: s}}\n";
    let (world, findings) = admit(&[file("a.yaml", list)]).unwrap();
    assert!(findings.is_empty());
    assert_eq!((world.namespaces.len(), world.services.len()), (1, 1));
}

#[test]
fn conditions_with_and_without_quotes() {
    for (written, wanted) in [("\"True\"", "True"), ("True", "True"), ("false", "False"), ("Unknown", "Unknown")] {
        let pod =
            format!("kind: Pod\nmetadata: {{name: a}}\nstatus: {{conditions: [{{type: Ready, status: {written}}}]}}\n");
        let (world, _) = admit(&[file("a.yaml", &pod)]).unwrap();
        let (_, pod) = world.pods.values().next().unwrap();
        assert_eq!(pod.status.conditions[0].status, wanted, "{written}");
    }
}
