//! The loop of attempts: one after another, or several at once when they hedge.

mod end;
mod run;
mod running;
mod tries;

pub(super) use end::{End, Exhausted, Last};
pub(super) use run::Attempts;
pub(super) use tries::{PerTry, Ticket, Tries};
