//! A companion of tests.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

/// Says what it is told to, a moment later, and keeps what it was asked.
#[derive(Debug)]
pub(super) struct Scripted<Q, A> {
    answer: A,
    asked: Mutex<Vec<Q>>,
}

impl<Q: fmt::Debug, A: Clone + Send + 'static> Scripted<Q, A> {
    pub(super) fn new(answer: A) -> Arc<Self> {
        Arc::new(Self { answer, asked: Mutex::default() })
    }

    pub(super) fn answer(&self, question: Q) -> Pin<Box<dyn Future<Output = A> + Send>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(question);
        let answer = self.answer.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
    }

    /// What it was asked until now.
    pub(super) fn take_asked(&self) -> Vec<Q> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
