//! How much a policy may do over one object.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use regorus::utils::limits::{ExecutionTimerConfig, TimeSource, set_time_source};
use regorus::{Engine, Value};
use tokio::time::Instant;

use super::functions::FUNCTIONS;

/// Steps of evaluation that a rule may take over one object.
pub const MAX_STEPS: u64 = 2_000_000;

/// Stands behind the steps, for functions that take long over one of them.
const DEADLINE: Duration = Duration::from_secs(10);

thread_local! {
    static SPENT: Cell<Spent> = const { Cell::new(Spent { steps: 0, until: None, withheld: None }) };
}

#[derive(Clone, Copy)]
struct Spent {
    steps: u64,
    until: Option<Instant>,
    /// A function that was called and did nothing.
    withheld: Option<&'static str>,
}

/// The clock of the evaluator: its nanoseconds are steps.
struct Steps;

impl TimeSource for Steps {
    fn now(&self) -> Option<Duration> {
        let mut spent = SPENT.get();
        spent.steps += 1;
        if spent.steps.is_multiple_of(4096) && spent.until.is_some_and(|until| Instant::now() >= until) {
            spent.steps = spent.steps.max(MAX_STEPS + 1);
        }
        SPENT.set(spent);
        Some(Duration::from_nanos(spent.steps))
    }
}

/// Bounds what an engine evaluates.
pub(super) fn bound(engine: &mut Engine) -> Result<(), String> {
    // It is the same for all engines: the second time says that there is one.
    let _ = set_time_source(&Steps);
    let config = ExecutionTimerConfig { limit: Duration::from_nanos(MAX_STEPS), check_interval: NonZeroU32::MIN };
    engine.set_execution_timer_config(config);
    for (name, count, function) in FUNCTIONS {
        let extension = move |arguments: Vec<Value>| match function(&arguments) {
            Some(value) => Ok(value),
            None => {
                SPENT.set(Spent { withheld: Some(name), ..SPENT.get() });
                Ok(Value::Undefined)
            }
        };
        engine.add_extension(name.to_owned(), count, Box::new(extension)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Evaluates within the budget.
///
/// # Errors
/// What the evaluator says, or that the budget did not suffice. Errors in functions of policies would make those undefined,
/// and a rule that asks them silent: they are looked for here.
pub(super) fn within<T>(evaluate: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    SPENT.set(Spent { steps: 0, until: Some(Instant::now() + DEADLINE), withheld: None });
    let result = evaluate();
    let spent = SPENT.get();
    if spent.steps > MAX_STEPS || spent.until.is_some_and(|until| Instant::now() >= until) {
        return Err(format!("it takes more than {MAX_STEPS} steps over one object"));
    }
    match spent.withheld {
        Some(name) => Err(format!("`{name}` is not to be had, or not for what it was asked")),
        None => result,
    }
}
