use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::Outcome;
use super::manifests::{Place, read, world};
use super::output::{Asked, Format, show};
use super::table::Table;
use crate::status::{self, Generations, Input, statuses};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Directory of manifests of which it is asked what would be said, and not a control plane.
    #[arg(value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
    /// Only of this object, as `Kind namespace/name`.
    #[arg(long, value_name = "OBJECT")]
    object: Option<String>,
    /// The form of the answer.
    #[arg(short, long, default_value = "table")]
    output: Format,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { dir, asked, object, output, place } = arguments;
    let page = match dir {
        None => asked.get("/status", &[("object", object.as_deref())])?,
        Some(directory) => {
            let world = world(&read(directory)?, &directory.display().to_string())?;
            let place = place.read()?;
            let generations = Generations::default();
            let input = Input { world: &world, place: &place, findings: &[], generations: &generations };
            let all = statuses(&input);
            match object {
                Some(object) => status::one(&all, object),
                None => status::list(&all),
            }
        }
    };
    if let Some(error) = page.get("error").and_then(Value::as_str) {
        return Err(error.to_owned().into());
    }
    show(*output, &page, table);
    Ok(ExitCode::SUCCESS)
}

/// A row for each condition. Those of a part of an object name the part: a listener, or a parent.
fn table(page: &Value) -> Table {
    let headings = ["KIND", "NAME", "OF", "CONDITION", "STATUS", "REASON", "MESSAGE"];
    let mut table = Table::new(&headings, "Nothing is said of any object.");
    for object in items(page) {
        let (kind, name) = (text(object, "kind"), name_of(object));
        let status = object.get("status").cloned().unwrap_or_default();
        let mut rows = |of: &str, conditions: &Value| {
            for condition in items(conditions) {
                let said = ["type", "status", "reason", "message"].map(|field| text(condition, field));
                table.row([kind.clone(), name.clone(), of.to_owned()].into_iter().chain(said));
            }
        };
        rows("", &status["conditions"]);
        for listener in items(&status["listeners"]) {
            let routes = listener["attachedRoutes"].as_u64().unwrap_or_default();
            rows(&format!("listener {} ({routes} routes)", text(listener, "name")), &listener["conditions"]);
        }
        for (field, reference) in [("parents", "parentRef"), ("ancestors", "ancestorRef")] {
            for part in items(&status[field]) {
                rows(&of(&part[reference]), &part["conditions"]);
            }
        }
    }
    table
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn name_of(object: &Value) -> String {
    match (text(object, "namespace"), text(object, "name")) {
        (namespace, name) if namespace.is_empty() => name,
        (namespace, name) => format!("{namespace}/{name}"),
    }
}

/// A parent, with the section and the port that a reference selects.
fn of(reference: &Value) -> String {
    let section = reference["sectionName"].as_str().map(|section| format!(" {section}")).unwrap_or_default();
    let port = reference["port"].as_u64().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{} {}{port}{section}", text(reference, "kind"), name_of(reference))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_condition_has_a_row_that_says_of_what() {
        let condition = |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason, "message": "m", "observedGeneration": 1});
        let page = json!([
            {"kind": "Gateway", "namespace": "shop", "name": "gate", "status": {
                "conditions": [condition("Accepted", "True", "ListenersNotValid")],
                "listeners": [{"name": "web", "attachedRoutes": 2, "conditions": [condition("Conflicted", "True", "ProtocolConflict")]}],
            }},
            {"kind": "HTTPRoute", "namespace": "shop", "name": "carts", "status": {"parents": [{
                "parentRef": {"kind": "Gateway", "namespace": "edge", "name": "gate", "sectionName": "web", "port": 80},
                "conditions": [condition("Accepted", "False", "NoMatchingParent")],
            }]}},
            {"kind": "GatewayClass", "namespace": "", "name": "istio", "status": {"conditions": []}},
        ]);
        let text = table(&page).to_string();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(rows[1], ["Gateway", "shop/gate", "-", "Accepted", "True", "ListenersNotValid", "m"]);
        assert_eq!(
            rows[2],
            ["Gateway", "shop/gate", "listener web (2 routes)", "Conflicted", "True", "ProtocolConflict", "m"]
        );
        assert_eq!(
            rows[3],
            ["HTTPRoute", "shop/carts", "Gateway edge/gate:80 web", "Accepted", "False", "NoMatchingParent", "m"]
        );
        assert_eq!(rows.len(), 4);
    }
}
