use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::file::{ReadObject, read_again, values};
use super::inventory::Key;
use super::remembered::Remembered;
use crate::finding::{Code, Finding, Origin, Severity};
use crate::resource::{Object, ObjectId};

/// A file and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path below the directory.
    pub path: PathBuf,
    /// Its text, or why it has none.
    pub text: Result<String, String>,
}

/// A file, judged by itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judged {
    /// Its objects: where each stands, the digest of its text, and what it is.
    pub(crate) objects: BTreeMap<ObjectId, (Origin, u128, Object)>,
    /// Its objects as they were written, whatever their kind, where somebody else has a say about them.
    pub(crate) manifests: Vec<(Key, Origin, Arc<Value>)>,
    /// What is wrong in it, or has no effect, as far as that can be told without other files.
    pub(crate) findings: Vec<Finding>,
    /// What its documents say, for the next time.
    remembered: Remembered,
}

impl Judged {
    /// Judges the text of a file of a source, of which something may be known from the time before. The objects as they were
    /// written are kept for somebody else who has a say.
    pub(crate) fn of(source: &Arc<str>, path: &Path, text: &str, before: Option<&Self>, keeps_manifests: bool) -> Self {
        let nothing = Remembered::default();
        let (read, remembered) = read_again(source, path, text, before.map_or(&nothing, |before| &before.remembered));
        let mut judged = Self { findings: read.findings, remembered, ..Self::default() };
        for ReadObject { origin, digest, object } in read.objects {
            let id = object.id();
            if let Some((first, ..)) = judged.objects.get(&id) {
                judged.findings.push(twice(&origin, &id, first));
            } else {
                judged.objects.insert(id, (origin, digest, object));
            }
        }
        if keeps_manifests {
            let written = values(source, path, text).into_iter();
            judged.manifests =
                written.filter_map(|(origin, object)| Some((Key::of(&object)?, origin, Arc::new(object)))).collect();
        }
        judged
    }

    /// A file that has no text.
    pub(crate) fn unreadable(source: &Arc<str>, path: &Path, reason: &str) -> Self {
        let origin = Origin { source: Arc::clone(source), ..Origin::file(path) };
        let findings = vec![Finding { code: Code::UNREADABLE, ..origin.error(reason) }];
        Self { findings, ..Self::default() }
    }

    /// Whether there is nothing in it that forbids its use.
    pub(crate) fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }
}

/// That an object stands elsewhere already.
pub(crate) fn twice(origin: &Origin, id: &ObjectId, first: &Origin) -> Finding {
    let finding = origin.error(format!("{id} stands already at {}:{}", first.file.display(), first.line));
    Finding { code: Code::DUPLICATE, object: id.to_string(), ..finding }
}
