//! Input that nobody means: each is named, touches nothing beside, and costs no more than its length.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::{file, findings};
use crate::admission::{FileRead, admit, read_file, read_value};
use crate::finding::Code;

fn read(text: &str) -> FileRead {
    read_file(&"git".into(), Path::new("a.yaml"), text)
}

const GOOD: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: good}\n";

#[test]
fn what_is_no_yaml_is_named_and_touches_nothing_beside() {
    for (text, line, wanted) in [
        ("a: [\n", 5, "the document cannot be read"),
        ("a: 1\na: 2\n", 6, "duplicate"),
        ("metadata: {labels: {a: b, a: c}}\n", 5, "duplicate"),
        ("a:\n\tb: c\n", 6, "the document cannot be read"),
        ("a: b\u{0}c\n", 5, "it holds a NUL character"),
        ("a: *nobody\n", 5, "the document cannot be read"),
        ("a: 99999999999999999999999\nb: 1e999\n", 0, "the document cannot be read"),
        ("a: .nan\n", 5, "the document cannot be read"),
        ("a: \"\n", 0, "the document cannot be read"),
        ("- a\n- b\n", 5, "a document is an object"),
        ("just a text\n", 5, "a document is an object"),
        ("apiVersion: v1\nkind: List\nitems: 1\n", 0, "items: is no list of objects"),
        ("apiVersion: v1\nkind: List\nitems: [1]\n", 0, "item 0 of the list is no object"),
        ("kind: [Pod]\n", 0, "kind: is no name"),
        ("apiVersion: 1\nkind: Pod\n", 0, "apiVersion: is no name"),
        ("apiVersion: v1\nkind: Pod\n", 0, "metadata: is missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 1}\n", 0, "metadata.name: is no text; put it in quotes"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n", 0, "names are made up by API servers only"),
    ] {
        let found = read(&format!("{GOOD}---\n{text}---\n{}", GOOD.replace("good", "better")));
        let names: Vec<_> = found.objects.iter().map(|read| read.object.id().name.name.to_string()).collect();
        assert_eq!(names, ["good", "better"], "{text}");
        assert!(found.partial && !found.is_good(), "{text}: {found:#?}");
        let finding = &found.findings[0];
        assert!(finding.text().contains(wanted), "{text}: {finding}");
        assert_eq!(finding.origin.document, 2);
        assert!(
            line == 0 || finding.origin.line == line,
            "{text}: line {} and not {line}: {finding}",
            finding.origin.line
        );
    }
}

#[test]
fn an_object_that_is_refused_is_known_by_its_name() {
    for (text, line, wanted) in [
        (
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  namespace: ns\nspec:\n  ports:\n  - port: 80\n  - name: b\n    port: 99999\n",
            10,
            "spec.ports[1].port: ",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: ns}\nspec: {ports: {}}\n",
            4,
            "spec.ports: map",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  namespace: ns\n  labels:\n    version: 1.0\n",
            7,
            "metadata.labels.version: floating point `1.0` is not a string; put it in quotes",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  namespace: ns\n  labels:\n    example.com/on: yes\n",
            7,
            "metadata.labels[example.com/on]: boolean `true` is not a string; put it in quotes",
        ),
        (
            "apiVersion: v2\nkind: Service\nmetadata: {name: a, namespace: ns}\n",
            1,
            "apiVersion: `v2` is not known; there are v1",
        ),
    ] {
        let found = read(text);
        assert_eq!(
            found.refused.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["Service ns/a"],
            "{text}: {found:?}"
        );
        assert!(!found.partial && found.objects.is_empty());
        let finding = found.findings.iter().find(|finding| finding.text().starts_with(wanted));
        let finding = finding.unwrap_or_else(|| panic!("{wanted} is not in {:#?}", found.findings));
        assert_eq!((finding.origin.line, finding.object.as_str()), (line, "Service ns/a"), "{text}");
        assert_eq!(&*finding.origin.source, "git");
    }
}

#[test]
fn what_is_written_in_other_ways_is_the_same() {
    let digest = |text: &str| {
        let found = read(text);
        assert!(found.is_good() && found.objects.len() == 1, "{text}: {:#?}", found.findings);
        found.objects[0].digest
    };
    let plain = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n  - port: 80\n";
    let wanted = digest(plain);
    for text in [
        plain.replace('\n', "\r\n"),
        format!("\u{feff}{plain}"),
        format!("%YAML 1.2\n---\n{plain}...\n"),
        format!("# nothing\n---\n---\n{plain}---\n# nothing\n"),
        "--- {kind: Service, spec: {ports: [{port: 80}]}, apiVersion: v1, metadata: {name: a}}\n".to_owned(),
        r#"{"kind":"Service","apiVersion":"v1","metadata":{"name":"a","labels":null},"spec":{"ports":[{"port":0x50}]}}"#.to_owned(),
        plain.replace("- port: 80", "- &p\n    port: 80\n  # *p"),
        plain.replace("  name: a", "  <<: {name: a}"),
    ] {
        assert_eq!(digest(&text), wanted, "{text}");
    }
    let value = serde_json::json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "a", "uid": "u", "resourceVersion": "1"}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(read_value(&"api".into(), value).objects[0].digest, wanted);
    assert_ne!(digest(&plain.replace("80", "81")), wanted);
}

#[test]
fn anchors_end_with_their_document() {
    let found = read(
        "apiVersion: v1\nkind: Namespace\nmetadata: &m {name: a}\n---\napiVersion: v1\nkind: Namespace\nmetadata: *m\n",
    );
    assert_eq!((found.objects.len(), found.findings.len(), found.partial), (1, 1, true), "{found:#?}");
}

#[test]
fn items_of_lists_have_lines_of_their_own() {
    let found = read(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: a\n  spec:\n    clusterIP: x\n",
    );
    assert_eq!(found.objects.len(), 1);
    assert_eq!(found.objects[0].origin.line, 4);
    let text = found.findings.iter().find(|finding| finding.field == "spec.clusterIP").unwrap().to_string();
    assert_eq!(text, "git:a.yaml:12: error: spec.clusterIP: `x` is no IP address");
}

/// Time is no measure on a busy machine; what takes this long does more than read.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn what_explodes_and_what_is_deep_is_refused() {
    let laughs = (1..12).fold("l0: &l0 [a, a, a, a, a, a, a, a, a, a]\n".to_owned(), |text, level| {
        let below = format!("*l{}, ", level - 1).repeat(10);
        format!("{text}l{level}: &l{level} [{below}]\n")
    });
    let begun = Instant::now();
    for text in [
        laughs,
        format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000)),
        format!("a: {}", "{a: ".repeat(10_000)),
        "- ".repeat(10_000),
        (0..10_000).map(|depth| " ".repeat(depth.min(1_000)) + "a:\n").collect(),
        "[".repeat(1_000_000),
        "&a ".repeat(10_000),
        "!!a ".repeat(10_000),
        "? ".repeat(10_000),
    ] {
        let found = read(&text);
        assert!(found.partial && found.objects.is_empty(), "{}", &text[..40]);
        assert_eq!(found.findings[0].code, Code::UNREADABLE, "{}: {}", &text[..40], found.findings[0]);
    }
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
}

#[test]
fn a_file_of_a_million_lines_is_read_in_the_time_of_its_length() {
    let objects = 40_000;
    let text: String = (0..objects)
        .map(|index| format!("---\n# {index}\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\napiVersion: v1\nkind: Namespace\nmetadata: {{name: n{index}}}\n"))
        .collect();
    assert!(text.lines().count() >= 1_000_000);
    let begun = Instant::now();
    let found = read(&text);
    assert_eq!((found.objects.len(), found.findings.len()), (objects, 0));
    assert_eq!(found.objects[objects - 1].origin.line, 999_998);
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
}

#[test]
fn notes_that_say_the_same_are_one() {
    let deployment = |name: &str| format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\n");
    let (_, found) = admit(&[file("a.yaml", &deployment("a")), file("b.yaml", &deployment("b"))]).unwrap();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].to_string().starts_with("a.yaml:1: note: `apps/v1 Deployment` has no effect here: "));
    assert!(found[0].message.ends_with("(and 1 more)"));
}

#[test]
fn kinds_that_are_not_read_are_told_apart() {
    for (api_version, kind, wanted) in [
        ("networking.istio.io/v1", "Sidecar", "warning: `networking.istio.io/v1 Sidecar` has no effect here: "),
        ("networking.istio.io/v1alpha3", "EnvoyFilter", "warning: "),
        ("networking.istio.io/v1", "Gateway", "a Gateway of gateway.networking.k8s.io says the same"),
        ("rbac.authorization.k8s.io/v1", "Role", "note: "),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "note: "),
        ("autoscaling/v2", "HorizontalPodAutoscaler", "note: "),
        ("v1", "Deployment", "warning: `v1 Deployment` is not known"),
        ("example.com/v1", "Thing", "warning: `example.com/v1 Thing` is not known; it has no effect here"),
        ("security.istio.io/v1", "Unheard", "error: security kind `Unheard` is not supported"),
        (
            "v1",
            "AuthorizationPolicy",
            "error: `v1 AuthorizationPolicy` is not there: AuthorizationPolicy is a kind of security.istio.io",
        ),
        ("security.istio/v1", "AuthorizationPolicy", "error: "),
        (
            "gateway.networking.k8s.io/v1",
            "HttpRoute",
            "error: `gateway.networking.k8s.io/v1 HttpRoute` is not known; is HTTPRoute meant?",
        ),
        ("", "Pod", "error: apiVersion: is missing"),
    ] {
        let head = if api_version.is_empty() { String::new() } else { format!("apiVersion: {api_version}\n") };
        let found = findings(&format!("{head}kind: {kind}\nmetadata: {{name: a}}\n"));
        assert!(found.len() == 1 && found[0].contains(wanted), "{wanted} is not in {found:#?}");
    }
}
