//! What stands in a file, or comes from an API server: objects, and what is wrong with them.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::remembered::{self, Remembered};
use super::{lines, object, split, yaml};
use crate::finding::{Code, Finding, Origin, Severity};
use crate::parallel;
use crate::resource::{Object, ObjectId};

/// What stands in a file. Nothing in it depends on other files.
#[derive(Debug, Clone, Default)]
pub struct FileRead {
    /// The objects that are good.
    pub objects: Vec<ReadObject>,
    /// The objects that are there and are refused: each has an error among the findings. What they said before goes on.
    pub refused: Vec<ObjectId>,
    /// Whether something could not be read so far that it would be known which object it is. Then nobody knows which objects
    /// stand in the file, and one that is missing need not be gone.
    pub partial: bool,
    /// What is wrong, or worth knowing.
    pub findings: Vec<Finding>,
}

/// An object that was read.
#[derive(Debug, Clone)]
pub struct ReadObject {
    /// Where it stands.
    pub origin: Origin,
    /// Digest of what it says: equal for the same object in a file, in git and in an API server. When it was made does not
    /// count.
    pub digest: u128,
    /// The object.
    pub object: Object,
}

impl FileRead {
    /// Whether nothing in it is refused.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }

    /// The object, where there is nothing else to say.
    fn only_object(&self) -> Option<&ReadObject> {
        match self.objects.as_slice() {
            [object] if self.refused.is_empty() && self.findings.is_empty() && !self.partial => Some(object),
            _ => None,
        }
    }
}

/// Documents that a thread reads at least: fewer are read before it is started.
const OF_A_THREAD: usize = 64;

/// Reads a file of a source, given by its path below the source's directory and its text. Each document is judged by itself:
/// what is wrong with one does not touch the others.
#[must_use]
pub fn read_file(source: &Arc<str>, path: &Path, text: &str) -> FileRead {
    read_again(source, path, text, &Remembered::default()).0
}

/// As [`read_file`], for a file of which it is known what it said before. Gives what is to be known the next time.
pub(super) fn read_again(source: &Arc<str>, path: &Path, text: &str, before: &Remembered) -> (FileRead, Remembered) {
    let file: Arc<Path> = path.into();
    let documents = split::documents(text);
    let is_large = Remembered::is_worth(documents.len());
    let read = parallel::map(&documents, OF_A_THREAD, |document| {
        let digest = is_large.then(|| remembered::digest_of(document.text));
        let origin = Origin {
            source: Arc::clone(source),
            file: Arc::clone(&file),
            document: document.number,
            line: document.line,
        };
        (digest, document_again(document, origin, digest.and_then(|digest| before.get(digest))))
    });
    let mut whole = FileRead::default();
    let mut now = Remembered::default();
    for (digest, read) in read {
        if let (Some(digest), Some(object)) = (digest, read.only_object()) {
            now.put(digest, object);
        }
        whole.objects.extend(read.objects);
        whole.refused.extend(read.refused);
        whole.partial |= read.partial;
        whole.findings.extend(read.findings);
    }
    (whole, now)
}

/// Reads a document, unless it is known what it says.
fn document_again(document: &split::Document<'_>, origin: Origin, before: Option<&(u128, Object)>) -> FileRead {
    let mut read = FileRead::default();
    if let Some((digest, object)) = before {
        read.objects.push(ReadObject { origin, digest: *digest, object: object.clone() });
        return read;
    }
    match yaml::parse(document.text) {
        Ok(value) => whole(value, &origin, || lines_of_items(document), &mut read),
        Err(mistake) => {
            let line = mistake.line.map_or(document.line, |line| document.first + line - 1);
            let message = format!("the document cannot be read: {}", mistake.message);
            let finding = Origin { line, ..origin }.error(message);
            read.findings.push(Finding { code: Code::UNREADABLE, ..finding });
            read.partial = true;
            return read;
        }
    }
    place(document, &mut read.findings);
    read
}

/// Reads an object that comes from an API server, or a list of such.
#[must_use]
pub fn read_value(source: &Arc<str>, value: Value) -> FileRead {
    let mut read = FileRead::default();
    let origin = Origin { source: Arc::clone(source), ..Origin::file("") };
    whole(value, &origin, Vec::new, &mut read);
    read
}

/// The objects of a file as they were written, whatever their kind, with where they stand. What cannot be read is left out:
/// [`read_file`] says so.
pub(super) fn values(source: &Arc<str>, path: &Path, text: &str) -> Vec<(Origin, Value)> {
    let file: Arc<Path> = path.into();
    let mut values = Vec::new();
    for document in split::documents(text) {
        let (number, line) = (document.number, document.line);
        let origin = Origin { source: Arc::clone(source), file: Arc::clone(&file), document: number, line };
        let Ok(Value::Object(mut object)) = yaml::parse(document.text) else { continue };
        let is_list = object.get("kind").is_some_and(|kind| kind == "List");
        match object.remove("items") {
            Some(Value::Array(items)) if is_list => {
                let lines = lines_of_items(&document);
                let line = |index: usize| lines.get(index).copied().unwrap_or(document.line);
                let placed = items.into_iter().enumerate();
                values.extend(placed.map(|(index, item)| (Origin { line: line(index), ..origin.clone() }, item)));
            }
            items => {
                object.extend(items.map(|items| ("items".to_owned(), items)));
                values.push((origin, Value::Object(object)));
            }
        }
    }
    values
}

/// Gives findings the lines of the fields that they are about. Those must be of the file of this text, and say the lines of
/// their objects.
pub fn locate(text: &str, findings: &mut [Finding]) {
    if findings.iter().all(|finding| finding.field.is_empty()) {
        return;
    }
    for document in split::documents(text) {
        let of_document = |finding: &&mut Finding| finding.origin.document == document.number;
        let mut found: Vec<_> = findings.iter_mut().filter(of_document).collect();
        place_all(&document, &mut found);
    }
}

fn place(document: &split::Document<'_>, findings: &mut [Finding]) {
    place_all(document, &mut findings.iter_mut().collect::<Vec<_>>());
}

fn place_all(document: &split::Document<'_>, findings: &mut [&mut Finding]) {
    findings.sort_by_key(|finding| finding.origin.line);
    for of_object in findings.chunk_by_mut(|one, next| one.origin.line == next.origin.line) {
        if of_object.iter().all(|finding| finding.field.is_empty()) {
            continue;
        }
        let Some(line) = of_object.first().map(|finding| finding.origin.line) else { continue };
        let item = match line == document.line {
            true => None,
            false => lines_of_items(document).iter().position(|item| *item == line),
        };
        let path = |finding: &Finding| match item {
            Some(index) if finding.field.starts_with('[') => format!("items[{index}]{}", finding.field),
            Some(index) => format!("items[{index}].{}", finding.field),
            None => finding.field.clone(),
        };
        let paths: Vec<_> = of_object.iter().map(|finding| path(finding)).collect();
        let found = lines::of_fields(document.text, paths.iter().map(String::as_str));
        for (finding, path) in of_object.iter_mut().zip(&paths) {
            if let Some(line) = found.get(path.as_str()).filter(|_| !finding.field.is_empty()) {
                finding.origin.line = document.first + line - 1;
            }
        }
    }
}

fn lines_of_items(document: &split::Document<'_>) -> Vec<u64> {
    lines::of_items(document.text).into_iter().map(|line| document.first + line - 1).collect()
}

/// An object, or a list of them.
pub(super) fn whole(value: Value, origin: &Origin, lines: impl FnOnce() -> Vec<u64>, read: &mut FileRead) {
    let Value::Object(mut list) = value else {
        let message = "a document is an object with `apiVersion`, `kind` and `metadata`";
        read.findings.push(Finding { code: Code::NO_OBJECT, ..origin.error(message) });
        read.partial = true;
        return;
    };
    let is_list = list.get("kind").is_some_and(|kind| kind == "List");
    let items = match list.remove("items") {
        Some(Value::Array(items)) if is_list => items,
        Some(_) if is_list => {
            let finding = origin.error("is no list of objects");
            read.findings.push(Finding { code: Code::NO_OBJECT, field: "items".to_owned(), ..finding });
            read.partial = true;
            return;
        }
        None if is_list => Vec::new(),
        rest => {
            list.extend(rest.map(|items| ("items".to_owned(), items)));
            return object::read(list, origin, read);
        }
    };
    let lines = lines();
    for (index, item) in items.into_iter().enumerate() {
        let line = lines.get(index).copied().unwrap_or(origin.line);
        let origin = Origin { line, ..origin.clone() };
        match item {
            Value::Object(item) => object::read(item, &origin, read),
            _ => {
                let finding = origin.error(format!("item {index} of the list is no object"));
                read.findings.push(Finding { code: Code::NO_OBJECT, ..finding });
                read.partial = true;
            }
        }
    }
}
