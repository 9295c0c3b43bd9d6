//! Which of several servers is listened to. Pure; random numbers are handed in.
//!
//! The first server is preferred. When it cannot be reached, and something is missing that only a server can give, the next
//! one is asked, and so on; all that failed are tried again meanwhile. As soon as a preferred one answers, those after it are
//! left. gRFC A71 and A95.

use std::time::Duration;

use super::backoff::Backoff;

/// When the next server is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// As soon as the preferred one cannot be reached, so that changes arrive from another one. gRFC A95's
    /// `fallback_on_reachability_only`.
    #[default]
    WhenUnreachable,
    /// When it cannot be reached and something that is wanted is not held. gRFC A71.
    WhenMissing,
}

/// What becomes of the stream to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is to be opened.
    Open(usize),
    /// It is to be opened after a pause.
    Pause(usize, Duration),
    /// It is to be closed.
    Close(usize),
}

/// The servers in their order, and how each of them does.
#[derive(Debug, Clone)]
pub struct Ladder {
    rule: Fallback,
    steps: Vec<Step>,
    /// The server that is listened to.
    active: Option<usize>,
}

#[derive(Debug, Clone)]
struct Step {
    state: State,
    backoff: Backoff,
    /// Whether the last stream ended before it brought anything.
    failed: bool,
    /// Whether another server changed what is held since the stream was opened: what this one was told is not true any more.
    overtaken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Pausing,
    Open,
}

impl Ladder {
    /// A ladder of this many servers, none of which is asked yet.
    #[must_use]
    pub fn new(servers: usize, rule: Fallback, backoff: &Backoff) -> Self {
        let step = || Step { state: State::Idle, backoff: backoff.clone(), failed: false, overtaken: false };
        Self { rule, steps: (0..servers).map(|_| step()).collect(), active: None }
    }

    /// Leaves out all but the first servers.
    pub(super) fn truncate(&mut self, servers: usize) {
        self.steps.truncate(servers);
    }

    /// The server that is listened to: the last one that answered, while its stream is open.
    #[must_use]
    pub fn active(&self) -> Option<usize> {
        self.active
    }

    /// Whether no server can be reached.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.active.is_none() && self.steps.iter().all(|step| step.failed)
    }

    /// What is to be opened now. `complete`: whether nothing waits for a server.
    pub fn poll(&mut self, complete: bool) -> Option<Action> {
        for index in 0..self.steps.len() {
            if index > 0 && complete && self.rule == Fallback::WhenMissing {
                return None;
            }
            let step = &mut self.steps[index];
            if step.state == State::Idle {
                step.open();
                return Some(Action::Open(index));
            }
            // One that was left as it should answer, or that only takes a breath, is waited for.
            if !step.failed {
                return None;
            }
        }
        None
    }

    /// The pause of a server is over. Gives whether it is still to be opened.
    pub fn handle_due(&mut self, server: usize) -> bool {
        let due = self.steps[server].state == State::Pausing;
        if due {
            self.steps[server].open();
        }
        due
    }

    /// A server answered. Those after it are left. When one of them changed what is held since this stream was opened, the
    /// stream is begun anew, and the answer must not be applied: it is one to something that is not true any more.
    pub fn handle_answered(&mut self, server: usize) -> Vec<Action> {
        let step = &mut self.steps[server];
        step.backoff.reset();
        step.failed = false;
        let anew = step.overtaken;
        let mut actions = Vec::new();
        for (index, step) in self.steps.iter_mut().enumerate() {
            if index > server && step.state != State::Idle {
                step.state = State::Idle;
                step.failed = false;
                actions.push(Action::Close(index));
            }
            step.overtaken |= index != server && !anew;
        }
        self.active = Some(server);
        if anew {
            self.steps[server].open();
            actions.extend([Action::Close(server), Action::Open(server)]);
        }
        actions
    }

    /// The stream to a server ended, or could not be opened; `answered`: after it brought something. `random` in 0..=1.
    pub fn handle_ended(&mut self, server: usize, answered: bool, random: f64) -> Action {
        if self.active == Some(server) {
            self.active = None;
        }
        let step = &mut self.steps[server];
        step.failed |= !answered;
        step.state = State::Pausing;
        Action::Pause(server, step.backoff.next(random))
    }
}

impl Step {
    fn open(&mut self) {
        self.state = State::Open;
        self.overtaken = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(rule: Fallback) -> Ladder {
        Ladder::new(3, rule, &Backoff::default())
    }

    #[test]
    fn the_next_is_asked_when_one_fails_and_left_when_it_is_back() {
        let mut ladder = ladder(Fallback::WhenUnreachable);
        assert_eq!(ladder.poll(false), Some(Action::Open(0)));
        assert_eq!(ladder.poll(false), None, "the first is given its time");
        assert!(matches!(ladder.handle_ended(0, false, 1.0), Action::Pause(0, _)));
        assert_eq!(ladder.poll(false), Some(Action::Open(1)));
        assert!(matches!(ladder.handle_ended(1, false, 1.0), Action::Pause(1, _)));
        assert!(!ladder.is_cut_off());
        assert_eq!(ladder.poll(false), Some(Action::Open(2)));
        assert_eq!(ladder.handle_answered(2), []);
        assert_eq!(ladder.active(), Some(2));
        // The second comes back, and then the first.
        assert!(ladder.handle_due(1));
        assert_eq!(ladder.handle_answered(1), [Action::Close(2)]);
        // While the first is being opened, the second goes on; what the first was told is then not true any more.
        assert!(ladder.handle_due(0));
        assert_eq!(ladder.handle_answered(1), []);
        assert_eq!(ladder.handle_answered(0), [Action::Close(1), Action::Close(0), Action::Open(0)]);
        assert_eq!(ladder.handle_answered(0), []);
        assert_eq!((ladder.active(), ladder.poll(false)), (Some(0), None));
    }

    #[test]
    fn a_stream_that_answered_may_end_without_the_next_being_asked() {
        let mut ladder = ladder(Fallback::WhenUnreachable);
        let _ = ladder.poll(true);
        let _ = ladder.handle_answered(0);
        assert!(matches!(ladder.handle_ended(0, true, 0.0), Action::Pause(0, _)));
        assert_eq!((ladder.poll(true), ladder.active()), (None, None));
        // But it does not come back.
        assert!(ladder.handle_due(0));
        let _ = ladder.handle_ended(0, false, 0.0);
        assert_eq!(ladder.poll(true), Some(Action::Open(1)));
    }

    #[test]
    fn with_everything_held_nobody_else_is_asked_if_so_wished() {
        let mut ladder = ladder(Fallback::WhenMissing);
        let _ = ladder.poll(true);
        let _ = ladder.handle_ended(0, false, 1.0);
        assert_eq!(ladder.poll(true), None);
        assert_eq!(ladder.poll(false), Some(Action::Open(1)), "something is wanted now that nobody gave");
        let _ = ladder.handle_ended(1, false, 1.0);
        assert_eq!(ladder.poll(false), Some(Action::Open(2)));
        let _ = ladder.handle_ended(2, false, 1.0);
        assert!(ladder.is_cut_off());
    }
}
