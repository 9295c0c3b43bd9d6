use std::path::Path;

use super::review::{Operation, Request, Validator, Verdict};
use crate::admission::read_one;
use crate::finding::Origin;

/// Judges an object by its kind's schema and the rules for it alone, as every source does. What it refers to may come later.
#[derive(Debug, Clone, Copy, Default)]
pub struct Schema;

impl Validator for Schema {
    fn validate(&self, request: &Request) -> Verdict {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Verdict::default();
        }
        let Some(object) = &request.object else { return Verdict::refuse("there is no object to judge") };
        // What is on its way out is only touched by those who wait for it.
        if object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()) {
            return Verdict::default();
        }
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        let origin = Origin { file: Path::new("object").into(), ..Origin::default() };
        match read_one(&origin, object) {
            Ok(_) => Verdict::default(),
            Err(faults) => {
                let texts: Vec<_> = faults.iter().map(crate::finding::Finding::text).collect();
                Verdict::refuse(texts.join("; "))
            }
        }
    }
}
