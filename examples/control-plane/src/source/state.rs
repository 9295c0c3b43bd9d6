use crate::finding::{Code, Finding, Severity};

/// How a source of configuration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// What it said last is in force.
    Taken,
    /// What it said last is wrong, or it has said nothing yet; what it said before is in force.
    Refused,
    /// It cannot be read, or offers what is not taken; what it said before is in force.
    Unreadable,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Taken, Self::Refused, Self::Unreadable];

    /// By what was found in what it said last.
    #[must_use]
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>, has_spoken: bool) -> Self {
        let mut state = if has_spoken { Self::Taken } else { Self::Refused };
        for finding in findings {
            // Whatever its severity: one kind of a cluster that is lost is a warning.
            if finding.code == Code::SOURCE_UNREADABLE {
                return Self::Unreadable;
            }
            if finding.severity == Severity::Error {
                state = Self::Refused;
            }
        }
        state
    }

    /// As metrics and pages name it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
        }
    }
}
