use std::fmt;

use parking_lot::Mutex;
use serde_json::Value;

use super::files::PolicyFile;
use super::policies::Policies;
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

    /// Judges by other policies from now on, and tells how many rules there are. They see no objects until
    /// [`Self::put_in_force`] shows them some.
    ///
    /// # Errors
    /// What is wrong with them. Those before stay in force; where there are none, everything is refused.
    pub fn take(&self, files: &[PolicyFile]) -> Result<usize, Vec<Finding>> {
        let policies = Policies::read(files)?;
        let count = policies.len();
        *self.policies.lock() = Some(policies);
        Ok(count)
    }

    /// Lets the policies see the objects that are in force.
    ///
    /// # Errors
    /// They cannot be seen; the policies then see none.
    pub fn put_in_force<'a>(&self, objects: impl Iterator<Item = &'a Value>) -> Result<(), String> {
        self.policies.lock().as_mut().map_or(Ok(()), |policies| policies.see(objects))
    }
}

impl Judge for Admission {
    fn judge(&self, review: &Review<'_>) -> Vec<Finding> {
        match self.policies.lock().as_mut() {
            Some(policies) => policies.judge(review),
            None => vec![refused(review, "there are no policies that could be read; until there are, all is refused")],
        }
    }

    fn judge_all(&self, reviews: &[Review<'_>]) -> Vec<Finding> {
        let Some(mut policies) = self.policies.lock().clone() else {
            return reviews.iter().flat_map(|review| self.judge(review)).collect();
        };
        let seen = policies.see(reviews.iter().filter_map(|review| review.object));
        reviews
            .iter()
            .flat_map(|review| match &seen {
                Ok(()) => policies.judge(review),
                Err(reason) => vec![refused(review, reason)],
            })
            .collect()
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
