//! Load: requests without pause, over connections that stay and over new ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::Error;
use crate::client::{Caller, Task, spawn};

const HOST: &str = "catalog.shop.svc.cluster.local";

/// Requests that run until this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    counts: Arc<Counts>,
    _workers: Vec<Task>,
}

#[derive(Debug, Default)]
struct Counts {
    served: AtomicU64,
    connections: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Starts two workers that keep their connection and two that make a new one for every request.
    pub(crate) fn start(caller: Caller) -> Self {
        let counts = Arc::new(Counts::default());
        let workers = (0..4).map(|n| spawn(work(caller, n % 2 == 0, Arc::clone(&counts)))).collect();
        Self { counts, _workers: workers }
    }

    /// Runs for a while longer, then tells requests and connections, or the first failure.
    pub(crate) async fn check(&self, longer: Duration) -> Result<(u64, u64), Error> {
        let before = self.counts.served.load(Ordering::Relaxed);
        tokio::time::sleep(longer).await;
        let served = self.counts.served.load(Ordering::Relaxed);
        if let Some(failure) = self.counts.failures.lock().first() {
            let failed = self.counts.failures.lock().len();
            return Err(format!("{failed} of {} requests failed; the first: {failure}", served + 1).into());
        }
        if served == before {
            return Err("the load stands still".into());
        }
        Ok((served, self.counts.connections.load(Ordering::Relaxed)))
    }
}

async fn work(caller: Caller, keep_alive: bool, counts: Arc<Counts>) {
    let mut kept = None;
    loop {
        let request = async {
            let mut http = match kept.take() {
                Some(http) => http,
                None => {
                    counts.connections.fetch_add(1, Ordering::Relaxed);
                    caller.http(HOST, 80).await?
                }
            };
            http.get("/").await?;
            Ok::<_, Error>(http)
        };
        match request.await {
            Ok(http) => {
                counts.served.fetch_add(1, Ordering::Relaxed);
                kept = keep_alive.then_some(http);
            }
            Err(error) => {
                let mut failures = counts.failures.lock();
                if failures.len() < 1000 {
                    failures.push(error.to_string());
                }
            }
        }
        // A few hundred requests a second show what is to be shown and leave the machine usable.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
