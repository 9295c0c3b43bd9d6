//! Functions that policies call, and that are not there. The evaluator would find out when it comes by, and take some for
//! undefined; OPA refuses the policy.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Engine;
use serde_json::Value as Json;

use super::budget;

/// The syntax trees of all policies.
pub(super) fn modules(engine: &Engine) -> Option<Vec<Json>> {
    engine.get_ast_as_json().ok().and_then(|text| serde_json::from_str(&text).ok())
}

/// The file of a syntax tree.
pub(super) fn file_of(module: &Json) -> &str {
    module["source"]["file"].as_str().or_else(|| module["source"]["path"].as_str()).unwrap_or_default()
}

/// Files with a function that they call and that nobody has.
pub(super) fn unknown(modules: &[Json]) -> Vec<(String, String)> {
    let mut found = Found::default();
    for module in modules {
        found.look(&module["ast"]);
    }
    let mut unknown = Vec::new();
    let mut known: BTreeMap<String, bool> = BTreeMap::new();
    for module in modules {
        let file = file_of(module);
        let mut calls = Found::default();
        calls.look(&module["ast"]);
        for (name, count) in calls.called {
            let last = name.rsplit('.').next().unwrap_or_default();
            if found.defined.contains(last) || name == "print" {
                continue;
            }
            if !*known.entry(name.clone()).or_insert_with(|| is_there(&name, count)) {
                unknown.push((file.to_owned(), format!("there is no function `{name}`")));
            }
        }
    }
    unknown
}

/// Asks the evaluator for a function that no policy defines.
fn is_there(name: &str, count: usize) -> bool {
    let arguments = vec!["1"; count].join(", ");
    let mut engine = Engine::new();
    if budget::bound(&mut engine).is_err() {
        return false;
    }
    let policy = format!("package probe\nanswer := {name}({arguments})\n");
    if engine.add_policy("probe".to_owned(), policy).is_err() {
        return false;
    }
    let answer = budget::within(|| engine.eval_rule("data.probe.answer".to_owned()).map_err(|error| error.to_string()));
    !answer.is_err_and(|error| error.contains("could not find function"))
}

/// Functions of a syntax tree.
#[derive(Default)]
struct Found {
    called: BTreeSet<(String, usize)>,
    /// The last parts of the names under which they are defined.
    defined: BTreeSet<String>,
}

impl Found {
    fn look(&mut self, tree: &Json) {
        match tree {
            Json::Array(list) => list.iter().for_each(|each| self.look(each)),
            Json::Object(fields) => {
                if let Some(call) = fields.get("Call") {
                    let count = call["params"].as_array().map_or(0, Vec::len);
                    self.called.extend(name(&call["fcn"]).map(|name| (name, count)));
                }
                if let Some(head) = fields.get("Func") {
                    let name = name(&head["refr"]);
                    self.defined.extend(name.and_then(|name| name.rsplit('.').next().map(ToOwned::to_owned)));
                }
                fields.values().for_each(|each| self.look(each));
            }
            _ => {}
        }
    }
}

/// The name that an expression is: `a.b.c`.
fn name(expression: &Json) -> Option<String> {
    if let Some(variable) = expression.get("Var") {
        return text(variable);
    }
    let dot = expression.get("RefDot")?;
    Some(format!("{}.{}", name(&dot["refr"])?, text(&dot["field"])?))
}

/// The text of a variable or field, which stands behind its place.
pub(super) fn text(part: &Json) -> Option<String> {
    match part {
        Json::String(text) => Some(text.clone()),
        Json::Array(parts) => parts.iter().find_map(Json::as_str).map(ToOwned::to_owned),
        Json::Object(fields) => fields.get("value").and_then(Json::as_str).map(ToOwned::to_owned),
        _ => None,
    }
}
