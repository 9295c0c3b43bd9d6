use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::machine::{Rejected, Update};

/// Names without a resource that stay subscribed, so that their appearance is noticed. Beyond this the oldest are given
/// up: clients that try address after address must not fill memory. They are asked for again when they are used.
const MAX_ABSENT: usize = 16_384;

/// Asks a client for single resources of a type and waits until they are answered. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Told when there is something for the stream to send.
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    answered: HashSet<String>,
    absent: VecDeque<String>,
    waiting: HashMap<String, Vec<oneshot::Sender<()>>>,
    wanted: Vec<String>,
    released: Vec<String>,
}

impl Demand {
    /// Waits until every name was answered: by its resource, which is then published, or by its absence. `false` when the
    /// limit passed first.
    ///
    /// # Cancel safety
    /// Safe: the names stay asked for.
    pub async fn ask(&self, names: &[String], limit: Duration) -> bool {
        let mut answers = Vec::new();
        {
            let mut state = self.inner.state.lock();
            for name in names {
                if state.answered.contains(name) {
                    continue;
                }
                let (answer, answered) = oneshot::channel();
                let waiting = state.waiting.entry(name.clone()).or_default();
                // Those who gave up waiting are gone.
                waiting.retain(|answer| !answer.is_closed());
                waiting.push(answer);
                state.wanted.push(name.clone());
                answers.push(answered);
            }
        }
        if answers.is_empty() {
            return true;
        }
        self.inner.news.notify_one();
        let all = async {
            for answer in answers {
                if answer.await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(limit, all).await.unwrap_or(false)
    }

    /// Completes when there are names to ask for or to give up.
    pub(crate) async fn news(&self) {
        self.inner.news.notified().await;
    }

    /// The names to ask for, and those to give up.
    pub(crate) fn take(&self) -> (Vec<String>, Vec<String>) {
        let mut state = self.inner.state.lock();
        (std::mem::take(&mut state.wanted), std::mem::take(&mut state.released))
    }

    /// An update was applied: who waited for something in it goes on. A resource answers to its name and to every alias,
    /// by one of which it may have been asked for.
    pub(crate) fn answered(&self, update: &Update, rejected: &[Rejected]) {
        let mut guard = self.inner.state.lock();
        let state = &mut *guard;
        for resource in &update.upserts {
            // What was rejected is not there, and not absent either: who waited for it learns that there is no answer.
            let usable = rejected.iter().all(|rejected| rejected.name != resource.name);
            for name in std::iter::once(&resource.name).chain(&resource.aliases) {
                state.answer(name, usable);
            }
        }
        for name in &update.removed {
            // Names that nobody asked for are those of resources that came along.
            if state.answer(name, true) {
                state.absent.push_back(name.clone());
            }
        }
        while state.absent.len() > MAX_ABSENT {
            if let Some(oldest) = state.absent.pop_front() {
                state.answered.remove(&oldest);
                state.released.push(oldest);
            }
        }
        let released = !state.released.is_empty();
        drop(guard);
        if released {
            self.inner.news.notify_one();
        }
    }
}

impl State {
    /// Lets those who wait for a name go on. Whether the name was waited for and is answered for the first time.
    fn answer(&mut self, name: &str, usable: bool) -> bool {
        let Some(waiting) = self.waiting.remove(name) else { return false };
        if !usable {
            return false;
        }
        for answer in waiting {
            // Whoever gave up waiting is gone.
            let _ = answer.send(());
        }
        self.answered.insert(name.to_owned())
    }
}
