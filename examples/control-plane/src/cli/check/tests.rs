use serde_json::Value;

use super::*;

fn finding(severity: Severity, message: &str) -> Finding {
    let origin = Origin { line: 7, ..Origin::file("./a b/c,d.yaml") };
    Finding { object: "Service shop/a".to_owned(), field: "spec.x".to_owned(), ..origin.finding(severity, message) }
}

#[test]
fn forms() {
    let findings = [finding(Severity::Error, "50% of\nit: bad"), finding(Severity::Warning, "odd")];
    assert_eq!(
        Form::Github.show(&findings, 3),
        "::error file=a b/c%2Cd.yaml,line=7,title=MESH0106 Service shop/a::spec.x: 50%25 of%0Ait: bad\n\
         ::warning file=a b/c%2Cd.yaml,line=7,title=MESH0133 Service shop/a::spec.x: odd\n\
         3 files, 1 errors, 1 warnings\n"
    );
    assert!(Form::Text.show(&findings, 3).contains("warning: spec.x: odd [MESH0133 Service shop/a]\n"));
    let json: Value = serde_json::from_str(&Form::Json.show(&findings, 3)).unwrap();
    assert_eq!((&json["errors"], &json["findings"][1]["code"]), (&Value::from(1), &Value::from("MESH0133")));
    let sarif: Value = serde_json::from_str(&Form::Sarif.show(&findings, 3)).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let result = &run["results"][0];
    assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "a%20b/c%2Cd.yaml");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 7);
    let known: Vec<&str> =
        run["tool"]["driver"]["rules"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert!(known.contains(&result["ruleId"].as_str().unwrap()));
}

#[test]
fn no_code_has_two_meanings() {
    let codes = codes();
    assert!(codes.is_sorted_by(|a, b| a.0 < b.0), "{codes:?}");
    assert!(codes.iter().all(|(_, text)| !text.is_empty() && !text.ends_with('.')));
}
