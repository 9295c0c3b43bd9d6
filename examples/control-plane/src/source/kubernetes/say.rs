//! What somebody else says of the objects of a cluster, before they count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_core::name::NamespacedName;
use serde_json::Value;

use super::collection::Collection;
use super::shared::Shared;
use super::told::{Bad, Told, origin, parse};
use crate::admission::gate::{Gate, Revision};
use crate::admission::judge::{Operation, Review};
use crate::finding::{Finding, Origin, Severity};
use crate::resource::Kind;

/// Who has a say, and where objects are held. Cheap to clone.
#[derive(Clone)]
pub(super) struct Say {
    pub(super) gate: Arc<Gate>,
    pub(super) source: Arc<str>,
    pub(super) shared: Arc<Shared>,
}

/// What is done with an object.
struct Question {
    origin: Origin,
    now: Option<Arc<Value>>,
    before: Option<Arc<Value>>,
}

impl Question {
    fn review(&self) -> Review<'_> {
        Review {
            operation: match (&self.now, &self.before) {
                (None, _) => Operation::Delete,
                (Some(_), None) => Operation::Create,
                (Some(_), Some(_)) => Operation::Update,
            },
            object: self.now.as_deref(),
            old: self.before.as_deref(),
            user: None,
            origin: &self.origin,
        }
    }
}

impl Say {
    /// Objects of a kind that come together, each with what is said of it. What is bad by itself is passed on.
    pub(super) fn judged(&self, kind: Kind, mut told: Vec<Told>) -> Vec<Told> {
        let Some(collection) = Collection::of(kind) else { return told };
        let is_good = |one: &Told| one.parsed.is_ok();
        let asked = self.shared.look(|store| {
            let question = |one: &Told| Question {
                origin: origin(&self.source, collection, Some(&one.name)),
                now: one.manifest.clone(),
                before: store.good(kind, &one.name).cloned(),
            };
            told.iter().filter(|one| is_good(one)).map(question).collect::<Vec<_>>()
        });
        let answers = self.ask(&asked);
        for ((one, question), findings) in told.iter_mut().filter(|one| is_good(one)).zip(&asked).zip(answers) {
            let text = question.now.as_ref().and_then(|now| serde_json::value::to_raw_value(&**now).ok());
            match text.filter(|_| findings.iter().any(|finding| finding.severity == Severity::Error)) {
                Some(text) => one.parsed = Err(Bad::new(kind, &one.name, &question.origin, &text, findings)),
                None => one.warnings = findings,
            }
        }
        told
    }

    /// Objects of a kind that are gone: those of which that is denied, with the reasons.
    pub(super) fn gone(&self, kind: Kind, gone: BTreeSet<NamespacedName>) -> BTreeMap<NamespacedName, Vec<Finding>> {
        let Some(collection) = Collection::of(kind) else { return BTreeMap::new() };
        let names = gone.into_iter();
        let (names, asked): (Vec<_>, Vec<_>) = self.shared.look(|store| {
            let question = |name: NamespacedName| {
                let before = store.good(kind, &name).cloned()?;
                let origin = origin(&self.source, collection, Some(&name));
                Some((name, Question { origin, now: None, before: Some(before) }))
            };
            names.filter_map(question).unzip()
        });
        let answers = names.into_iter().zip(self.ask(&asked));
        answers.filter(|(_, said)| said.iter().any(|finding| finding.severity == Severity::Error)).collect()
    }

    /// Tells what is in force, and judges again what may be judged otherwise than at a revision: where policies are others, all;
    /// where other objects are, what was denied. Gives the revision by which that was done.
    pub(super) fn again(&self, since: Option<Revision>) -> Revision {
        let manifests = self.shared.look(|store| store.manifests().clone());
        self.gate.take(&self.source, &manifests);
        let now = self.gate.revision();
        if since == Some(now) {
            return now;
        }
        let all = since.is_none_or(|since| since.judge != now.judge);
        for (kind, mut told, gone) in self.shared.look(|store| store.again(all)) {
            let Some(collection) = Collection::of(kind) else { continue };
            for one in &mut told {
                let origin = origin(&self.source, collection, Some(&one.name));
                let value = one.manifest.as_deref().cloned().unwrap_or_default();
                if let Ok(text) = serde_json::value::to_raw_value(&value) {
                    let parsed = parse(&origin, value);
                    one.parsed = parsed.map_err(|faults| Bad::new(kind, &one.name, &origin, &text, faults));
                }
            }
            let held = self.gone(kind, gone.clone());
            let told = self.judged(kind, told);
            self.shared.change(|store| {
                let mut changed =
                    told.into_iter().fold(Default::default(), |changed, one| changed | store.put_again(kind, one));
                for name in gone.iter().filter(|name| store.is_held(kind, name)).cloned().collect::<Vec<_>>() {
                    changed |= match held.get(&name) {
                        Some(faults) => store.hold(kind, &name, faults.clone()),
                        None => store.remove(kind, &name),
                    };
                }
                changed
            });
        }
        now
    }

    fn ask(&self, questions: &[Question]) -> Vec<Vec<Finding>> {
        let reviews: Vec<Review<'_>> = questions.iter().map(Question::review).collect();
        match reviews.is_empty() {
            true => Vec::new(),
            false => self.gate.judge(Some(&*self.source), &reviews),
        }
    }
}
