use serde::Serialize;

use super::super::mesh::Mesh;
use super::clients::Clients;
use super::compare::Pair;
use super::effect::{self, Effect};
use super::probes::MAX_PROBES;
use super::shift::Change;
use super::{other, subjects};

/// What a change does to traffic; the riskiest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What it does.
    pub effects: Vec<Effect>,
    /// What was not looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Compares what two worlds do to traffic. See the room's documentation for what is exact in it.
#[must_use]
pub fn diff(old: &Mesh, new: &Mesh) -> Report {
    let clients = Clients::of(old, new);
    let subjects = subjects::all(old, new);
    let rows = Pair::new(old, new).rows(&clients, &subjects);
    let cut = rows.cut.iter().map(|(key, port)| {
        format!(
            "{}:{port}: only the first {MAX_PROBES} combinations of conditions on requests were tried",
            key.hostname
        )
    });
    let notes = cut.collect();
    let mut effects = effect::effects(rows.rows, &clients, &subjects, old, new);
    effects.extend(other::effects(old, new));
    Report { effects, notes }
}

impl Report {
    /// The effects of one kind.
    pub fn of(&self, change: Change) -> impl Iterator<Item = &Effect> {
        self.effects.iter().filter(move |effect| effect.change == change)
    }
}

impl Change {
    /// All of them, the riskier first.
    pub const ALL: [Self; 4] = [Self::Opened, Self::Lost, Self::Moved, Self::Other];
}
