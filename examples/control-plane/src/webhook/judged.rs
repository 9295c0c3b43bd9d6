use std::path::Path;
use std::sync::Arc;

use super::review::{Operation, Request, Validator, Verdict};
use crate::admission::gate::Gate;
use crate::admission::judge;
use crate::finding::{Finding, Origin, Severity};

/// Lets who judges sources judge what API servers ask about, among all that sources have in force. Errors refuse, warnings are
/// passed on.
#[derive(Debug, Clone)]
pub struct Judged(pub Arc<Gate>);

impl Validator for Judged {
    fn validate(&self, request: &Request) -> Verdict {
        let operation = match request.operation {
            Operation::Create => judge::Operation::Create,
            Operation::Update => judge::Operation::Update,
            Operation::Delete => judge::Operation::Delete,
            Operation::Connect => return Verdict::default(),
        };
        let origin = Origin { file: Path::new("object").into(), ..Origin::default() };
        let user = Some(&request.user_info).filter(|user| !user.is_null());
        let (object, old) = (request.object.as_ref(), request.old_object.as_ref());
        let review = judge::Review { operation, object, old, user, origin: &origin };
        let findings = self.0.judge(None, &[review]).concat();
        let (errors, warnings): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(|finding| finding.severity == Severity::Error);
        let texts = |findings: Vec<Finding>| findings.iter().map(Finding::text).collect::<Vec<_>>();
        let refusal = (!errors.is_empty()).then(|| texts(errors).join("; "));
        Verdict { refusal, warnings: texts(warnings) }
    }
}

/// What several say together: the first that refuses counts, and the warnings up to it.
#[derive(Clone)]
pub struct All(pub Vec<Arc<dyn Validator>>);

impl std::fmt::Debug for All {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("All").field(&self.0.len()).finish()
    }
}

impl Validator for All {
    fn validate(&self, request: &Request) -> Verdict {
        let mut all = Verdict::default();
        for validator in &self.0 {
            let Verdict { refusal, warnings } = validator.validate(request);
            all.warnings.extend(warnings);
            if refusal.is_some() {
                return Verdict { refusal, ..all };
            }
        }
        all
    }
}
