use std::sync::Arc;

use super::super::outcome::{Access, Outcome, RouteAnswer, Via};

/// What a change does to a connection or a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Shift {
    pub(super) change: Change,
    pub(super) old: Outcome,
    pub(super) new: Outcome,
}

/// In which direction something changes; the riskier first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// More may pass.
    Opened,
    /// Less may pass.
    Lost,
    /// It passes, and goes elsewhere or otherwise.
    Moved,
    /// Anything else that is worth knowing.
    Other,
}

impl Shift {
    /// What lies between two outcomes, and nothing that does not; `None` if it is nothing.
    pub(super) fn between(old: &Outcome, new: &Outcome) -> Option<Self> {
        let change = match new.access.cmp(&old.access) {
            std::cmp::Ordering::Greater => Change::Opened,
            std::cmp::Ordering::Less => Change::Lost,
            std::cmp::Ordering::Equal if old.access == Access::Refused => return None,
            std::cmp::Ordering::Equal => {
                let asked = old.access == Access::Asked && old.causes != new.causes;
                if old.routes == new.routes && old.via == new.via && !asked {
                    return None;
                }
                Change::Moved
            }
        };
        let part = |outcome: &Outcome| match change {
            Change::Moved => Outcome {
                causes: if outcome.access == Access::Asked { outcome.causes.clone() } else { Vec::new() },
                via: if old.via == new.via { Vec::new() } else { outcome.via.clone() },
                ..outcome.clone()
            },
            _ => Outcome { via: Vec::new(), routes: Vec::new(), ..outcome.clone() },
        };
        Some(Self { change, old: part(old), new: part(new) })
    }
}

/// What two routes say differently: where to, and which settings.
pub(super) fn route_changes(old: &Outcome, new: &Outcome) -> Vec<String> {
    let none = Arc::new(RouteAnswer { to: "straight to the endpoints".to_owned(), settings: Default::default() });
    let mut lines = Vec::new();
    if old.via != new.via {
        lines.push(format!("{} -> {}", vias(&old.via), vias(&new.via)));
    }
    if old.routes == new.routes {
        return lines;
    }
    let of =
        |outcome: &Outcome| if outcome.routes.is_empty() { vec![Arc::clone(&none)] } else { outcome.routes.clone() };
    let (old, new) = (of(old), of(new));
    let to = |routes: &[Arc<RouteAnswer>]| routes.iter().map(|route| route.to.clone()).collect::<Vec<_>>().join(" or ");
    if to(&old) != to(&new) {
        lines.push(format!("{} -> {}", to(&old), to(&new)));
    }
    let names: std::collections::BTreeSet<_> =
        old.iter().chain(&new).flat_map(|route| route.settings.keys().copied()).collect();
    for name in names {
        let values = |routes: &[Arc<RouteAnswer>]| -> String {
            let said: Vec<&str> =
                routes.iter().map(|route| route.settings.get(name).map_or("none", String::as_str)).collect();
            said.join(" or ")
        };
        let (before, after) = (values(&old), values(&new));
        if before != after {
            // Settings that are structures are told in full by the machine's format only.
            lines.push(match before.contains(['{', '[']) || after.contains(['{', '[']) {
                true => format!("{name}: {}", summary(&before, &after)),
                false => format!("{name}: {before} -> {after}"),
            });
        }
    }
    lines
}

fn summary(before: &str, after: &str) -> &'static str {
    match (before, after) {
        ("none", _) => "added",
        (_, "none") => "removed",
        _ => "changed",
    }
}

fn vias(vias: &[Via]) -> String {
    match vias {
        [] => "nowhere".to_owned(),
        vias => vias.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
    }
}
