use std::fmt;

use parking_lot::Mutex;

use super::files::PolicyFile;
use super::policies::Policies;
use crate::admission::inventory::Inventory;
use crate::admission::judge::{Judge, Review};
use crate::finding::{Code, Finding, Severity};

/// Admission by policies in Rego that may change while objects are judged.
pub struct Admission {
    /// None as long as there were never good ones.
    policies: Mutex<Option<Policies>>,
}

impl Admission {
    /// Refuses everything until it has taken policies.
    #[must_use]
    pub const fn closed() -> Self {
        Self { policies: Mutex::new(None) }
    }

    /// Judges by other policies from now on, and tells how many rules there are.
    ///
    /// # Errors
    /// What is wrong with them. Those before stay in force; where there are none, everything is refused.
    pub fn take(&self, files: &[PolicyFile]) -> Result<usize, Vec<Finding>> {
        let policies = Policies::read(files)?;
        let count = policies.len();
        *self.policies.lock() = Some(policies);
        Ok(count)
    }
}

impl Judge for Admission {
    fn judge(&self, review: &Review<'_>, inventory: &Inventory) -> Vec<Finding> {
        self.judge_all(&[*review], inventory).concat()
    }

    fn judge_all(&self, reviews: &[Review<'_>], inventory: &Inventory) -> Vec<Vec<Finding>> {
        let mut policies = self.policies.lock();
        let seen = match policies.as_mut() {
            Some(policies) => policies.see(inventory).map(|()| policies),
            None => Err("there are no policies that could be read; until there are, all is refused".to_owned()),
        };
        match seen {
            Ok(policies) => reviews.iter().map(|review| policies.judge(review)).collect(),
            Err(reason) => reviews.iter().map(|review| vec![refused(review, &reason)]).collect(),
        }
    }

    fn sees_others(&self) -> bool {
        self.policies.lock().as_ref().is_some_and(Policies::sees_others)
    }
}

fn refused(review: &Review<'_>, reason: &str) -> Finding {
    let object = review.subject().to_string();
    Finding { code: Code::POLICY_FAULTY, object, ..review.origin.finding(Severity::Error, reason) }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policies.lock().fmt(f)
    }
}
