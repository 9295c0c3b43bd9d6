use std::path::PathBuf;

use super::admission::Admission;
use super::files::{PolicyFile, read_directory};
use crate::finding::{Code, Finding, Origin, Severity};

/// Policies of directories, followed as they change.
#[derive(Debug)]
pub struct Follow {
    admission: Admission,
    directories: Vec<PathBuf>,
    seen: Option<Vec<PolicyFile>>,
    faults: Vec<Finding>,
}

impl Follow {
    /// Follows these directories. Everything is refused until [`Self::look`] has found good policies.
    #[must_use]
    pub const fn new(directories: Vec<PathBuf>) -> Self {
        Self { admission: Admission::closed(), directories, seen: None, faults: Vec::new() }
    }

    /// Looks at the directories, and tells whether something is otherwise than at the last look.
    pub fn look(&mut self) -> bool {
        let mut files = Vec::new();
        for directory in &self.directories {
            match read_directory(directory) {
                Ok(read) => files.extend(read),
                Err(error) => files.push(PolicyFile { path: directory.clone(), text: Err(error.to_string()) }),
            }
        }
        if self.seen.as_ref() == Some(&files) {
            return false;
        }
        self.faults = match self.admission.take(&files) {
            Ok(0) => {
                let origin = Origin::file(self.directories.first().cloned().unwrap_or_default());
                let message = "there is no rule `deny`, `violation` or `warn` here: everything is admitted";
                vec![Finding { code: Code::POLICY_FAULTY, ..origin.finding(Severity::Warning, message) }]
            }
            Ok(_) => Vec::new(),
            Err(faults) => faults,
        };
        self.seen = Some(files);
        true
    }

    /// Judges by the last good policies.
    #[must_use]
    pub const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What is wrong with the policies themselves.
    #[must_use]
    pub fn faults(&self) -> &[Finding] {
        &self.faults
    }
}
