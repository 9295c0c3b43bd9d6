//! What was found, put together as far as it is the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use serde::Serialize;

use super::super::mesh::Mesh;
use super::super::outcome::{Cause, Outcome};
use super::super::words::cause_in_words;
use super::clients::{Clients, Label};
use super::compare::Row;
use super::shift::{Change, Shift, route_changes};
use super::subjects::{Name, Subject};

/// One thing that a change does to traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// In which direction it goes.
    pub change: Change,
    /// To whom it happens: clients; empty where it is not about who connects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<String>,
    /// What is addressed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// The ports, or `every port`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ports: String,
    /// The requests; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
    /// What happens, in a line.
    pub summary: String,
    /// Why: what decided before and what decides now, or what else there is to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What becomes of it before the change, for machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Outcome>,
    /// And after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Outcome>,
}

/// Rows that say the same of several clients, ports and subjects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Block {
    shift: Shift,
    requests: Vec<String>,
    groups: BTreeSet<usize>,
    subjects: BTreeSet<usize>,
    ports: BTreeSet<u16>,
}

/// Rows as effects, the fewest that say the same.
pub(super) fn effects(rows: Vec<Row>, clients: &Clients, subjects: &[Subject], old: &Mesh, new: &Mesh) -> Vec<Effect> {
    let block = |row: Row| Block {
        shift: row.shift,
        requests: row.requests,
        groups: row.groups.into_iter().collect(),
        subjects: [row.subject].into(),
        ports: [row.port].into(),
    };
    let blocks: Vec<Block> = rows.into_iter().map(block).collect();
    let blocks = merge(blocks, |block| &mut block.ports);
    let blocks = merge(blocks, |block| &mut block.subjects);
    let blocks = merge(blocks, |block| &mut block.groups);
    let mut workloads: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for workload in new.catalog.workloads() {
        *workloads.entry((workload.namespace.as_str(), workload.canonical_name.as_str())).or_default() += 1;
    }
    let labels = clients.groups.iter().map(|group| &group.label).collect();
    let words = Words { clients, labels, subjects, workloads, old, new };
    let mut effects: Vec<Effect> = blocks.iter().map(|block| words.effect(block)).collect();
    effects.sort_by(|a, b| (a.change, &a.to, &a.ports, &a.clients).cmp(&(b.change, &b.to, &b.ports, &b.clients)));
    effects
}

/// Puts those together that differ in one set only.
fn merge<T: Ord + Clone + Hash + Eq>(blocks: Vec<Block>, set: impl Fn(&mut Block) -> &mut BTreeSet<T>) -> Vec<Block> {
    let mut merged: Vec<Block> = Vec::new();
    let mut known: HashMap<Block, usize> = HashMap::new();
    for mut block in blocks {
        let values = std::mem::take(set(&mut block));
        match known.get(&block).and_then(|at| merged.get_mut(*at)) {
            Some(same) => set(same).extend(values),
            None => {
                known.insert(block.clone(), merged.len());
                *set(&mut block) = values;
                merged.push(block);
            }
        }
    }
    merged
}

/// How things are called.
struct Words<'w> {
    clients: &'w Clients,
    /// All labels of clients.
    labels: BTreeSet<&'w Label>,
    subjects: &'w [Subject],
    /// How many workloads there are of a namespace and a name.
    workloads: BTreeMap<(&'w str, &'w str), usize>,
    old: &'w Mesh,
    new: &'w Mesh,
}

impl Words<'_> {
    fn effect(&self, block: &Block) -> Effect {
        let Shift { change, old, new } = &block.shift;
        let (summary, details) = match change {
            Change::Opened | Change::Lost => {
                let summary = format!("{} -> {}", old.access.as_str(), new.access.as_str());
                let line = |when: &str, mesh: &Mesh, outcome: &Outcome| -> Vec<String> {
                    let causes = outcome.causes.iter().map(|cause| self.cause(mesh, cause, block));
                    causes.map(|cause| format!("{when}: {cause}")).collect()
                };
                let mut details = line("before", self.old, old);
                details.extend(line("after", self.new, new));
                (summary, details)
            }
            Change::Moved | Change::Other => {
                let mut lines = route_changes(old, new);
                if lines.is_empty() {
                    let causes = |mesh, outcome: &Outcome| -> String {
                        let all = outcome.causes.iter().map(|cause| self.cause(mesh, cause, block));
                        all.collect::<Vec<_>>().join(" or ")
                    };
                    lines.push(format!("{} -> {}", causes(self.old, old), causes(self.new, new)));
                }
                (lines.remove(0), lines)
            }
        };
        Effect {
            change: *change,
            clients: self.clients(block),
            to: self.to(block),
            ports: self.ports(block),
            requests: block.requests.clone(),
            summary,
            details,
            before: Some(old.clone()),
            after: Some(new.clone()),
        }
    }

    fn cause(&self, mesh: &Mesh, cause: &Cause, block: &Block) -> String {
        let subjects = block.subjects.iter().filter_map(|at| self.subjects.get(*at));
        cause_in_words(mesh, cause, &subjects.filter_map(|subject| namespace(mesh, subject)).collect())
    }

    fn clients(&self, block: &Block) -> Vec<String> {
        let labels: BTreeSet<&Label> =
            block.groups.iter().filter_map(|at| self.clients.groups.get(*at)).map(|group| &group.label).collect();
        let all = &self.labels;
        let is_member = |label: &&&Label| matches!(label, Label::Account(..) | Label::Identity(_) | Label::Stranger);
        let mut words = Vec::new();
        let members: Vec<_> = labels.iter().filter(is_member).collect();
        let everybody = members.len() == all.iter().filter(is_member).count() && !members.is_empty();
        if everybody {
            words.push("everybody in the mesh".to_owned());
        } else {
            words.extend(self.accounts(&labels, all));
        }
        let ranges: Vec<&Label> = labels.iter().copied().filter(|label| matches!(label, Label::Plaintext(_))).collect();
        let all_ranges = all.iter().filter(|label| matches!(label, Label::Plaintext(_))).count();
        let in_plaintext = ranges.contains(&&Label::Plaintext(None));
        if ranges.len() == all_ranges && in_plaintext {
            words.push("everybody in plaintext".to_owned());
        } else {
            words.extend(ranges.iter().map(|label| match label {
                Label::Plaintext(Some(range)) => format!("plaintext from {range}"),
                _ => "plaintext from any other address".to_owned(),
            }));
        }
        // Those outside the mesh are among those in plaintext.
        if !(ranges.len() == all_ranges && in_plaintext) {
            words.extend(labels.iter().filter_map(|label| match label {
                Label::Outside(name) => Some(format!("{name} (not in the mesh)")),
                _ => None,
            }));
        }
        words
    }

    /// Accounts one by one, or all of a namespace at once.
    fn accounts(&self, labels: &BTreeSet<&Label>, all: &BTreeSet<&Label>) -> Vec<String> {
        let mut by_namespace: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for label in all {
            if let Label::Account(namespace, ..) = label {
                *count.entry(namespace).or_default() += 1;
            }
        }
        let mut words = Vec::new();
        for label in labels {
            match label {
                Label::Account(namespace, account, note) => {
                    let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
                    by_namespace.entry(namespace).or_default().push(format!("sa/{account}{note}"));
                }
                Label::Identity(id) => words.push(id.clone()),
                Label::Stranger => words.push("any identity that nothing names".to_owned()),
                Label::Outside(_) | Label::Plaintext(_) => {}
            }
        }
        let in_words = by_namespace.into_iter().map(|(namespace, accounts)| match accounts.len() {
            many if many > 3 && count.get(namespace) == Some(&many) => {
                format!("all of namespace {namespace} ({many} accounts)")
            }
            _ => format!("{} in {namespace}", accounts.join(", ")),
        });
        in_words.chain(words).collect()
    }

    fn to(&self, block: &Block) -> Vec<String> {
        let mut words = BTreeSet::new();
        let mut uids = BTreeSet::new();
        for subject in block.subjects.iter().filter_map(|at| self.subjects.get(*at)) {
            match &subject.name {
                Name::Service(key) => drop(words.insert(format!("service {}", key.hostname))),
                Name::Workloads(members) => uids.extend(members.iter().map(|uid| uid.as_str())),
            }
        }
        let mut by_app: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for workload in uids.into_iter().filter_map(|uid| self.new.catalog.workload(uid)) {
            let app = (workload.namespace.as_str(), workload.canonical_name.as_str());
            by_app.entry(app).or_default().push(workload.name.as_str());
        }
        words.extend(by_app.into_iter().map(|((namespace, app), mut names)| {
            names.sort_unstable();
            match (names.as_slice(), self.workloads.get(&(namespace, app))) {
                ([name], _) => format!("workload {namespace}/{name}"),
                (names, Some(all)) if *all == names.len() => format!("{namespace}/{app} ({all} workloads)"),
                (names, _) => format!("{} of {namespace}/{app}: {}", names.len(), names.join(", ")),
            }
        }));
        words.into_iter().collect()
    }

    fn ports(&self, block: &Block) -> String {
        let subjects: Vec<&Subject> = block.subjects.iter().filter_map(|at| self.subjects.get(*at)).collect();
        let is_other = |port: &u16| subjects.iter().any(|subject| subject.other == Some(*port));
        let all = |subject: &&Subject| subject.ports.iter().all(|port| block.ports.contains(port));
        if subjects.iter().all(|subject| subject.other.is_some()) && subjects.iter().all(all) {
            return "every port".to_owned();
        }
        let numbers = block.ports.iter().filter(|port| !is_other(port)).map(ToString::to_string);
        let other = block.ports.iter().any(is_other).then(|| "other ports".to_owned());
        format!("TCP {}", numbers.chain(other).collect::<Vec<_>>().join(", "))
    }
}

fn namespace(mesh: &Mesh, subject: &Subject) -> Option<String> {
    match &subject.name {
        Name::Service(key) => Some(key.namespace.to_string()),
        Name::Workloads(uids) => {
            let workload = mesh.catalog.workload(uids.first()?.as_str())?;
            Some(workload.namespace.to_string())
        }
    }
}
