//! What policies look at, as far as their text tells: what they do not look at need not be put together for them.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::calls::{file_of, text};

/// Documents of objects, which are in no policy.
const DOCUMENTS: [&str; 2] = ["mesh", "inventory"];

/// What several policies look at.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    /// Whether any looks at other objects.
    pub(super) others: bool,
    /// The files that look at what is done with an object, or at the object as it was.
    operations: BTreeSet<String>,
    /// The files that look at other packages.
    packages: BTreeSet<String>,
}

impl Reads {
    /// What the policies of syntax trees look at. What cannot be told is taken to be looked at.
    pub(super) fn of(modules: &[Json]) -> Self {
        let mut reads = Self::default();
        for module in modules {
            let mut found = Found::default();
            found.look(&module["ast"]);
            reads.others |= found.others;
            let file = file_of(module);
            if found.operations {
                reads.operations.insert(file.to_owned());
            }
            if found.packages {
                reads.packages.insert(file.to_owned());
            }
        }
        reads
    }

    /// Whether the rules of a file know that an object may go. Those that do not speak of operations were written for objects
    /// that come: about one that goes they would say that it lacks everything.
    pub(super) fn knows_deletions(&self, file: &str) -> bool {
        self.operations.contains(file) || (self.packages.contains(file) && !self.operations.is_empty())
    }
}

#[derive(Default)]
struct Found {
    others: bool,
    operations: bool,
    packages: bool,
}

impl Found {
    fn look(&mut self, tree: &Json) {
        match tree {
            Json::Array(list) => list.iter().for_each(|each| self.look(each)),
            Json::Object(fields) => {
                for (kind, node) in fields {
                    match kind.as_str() {
                        "RefDot" => {
                            let field = text(&node["field"]).unwrap_or_default();
                            self.operations |= is_of_operations(&field);
                            self.reference(&node["refr"], Some(&field));
                        }
                        "RefBrack" => {
                            let index = &node["index"];
                            let field = index.get("String").or_else(|| index.get("RawString")).and_then(text);
                            self.reference(&node["refr"], field.as_deref());
                            self.look(index);
                        }
                        "String" | "RawString" => {
                            self.operations |= text(node).is_some_and(|text| is_of_operations(&text))
                        }
                        // By itself: all of it.
                        "Var" if text(node).as_deref() == Some("data") => self.others = true,
                        _ => self.look(node),
                    }
                }
            }
            _ => {}
        }
    }

    /// Something of what an expression is.
    fn reference(&mut self, whole: &Json, part: Option<&str>) {
        let is_data = whole.get("Var").and_then(text).as_deref() == Some("data");
        match part {
            _ if !is_data => self.look(whole),
            Some(part) if !DOCUMENTS.contains(&part) => self.packages = true,
            _ => self.others = true,
        }
    }
}

fn is_of_operations(text: &str) -> bool {
    matches!(text, "operation" | "oldObject" | "DELETE")
}
