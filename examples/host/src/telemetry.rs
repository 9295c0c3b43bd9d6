//! Logs: to standard error, plain or JSON, with a filter that can be changed while the process runs.

use std::fmt;

use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: Format,
    /// What is logged: a level, or directives such as `info,mesh_xds=debug,access=off`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: Format::Plain, level: "info".to_owned() }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Plain,
    /// One JSON object per line.
    Json,
}

/// Changes the filter of the log. Cheap to clone.
#[derive(Clone)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

/// A filter is none.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no log filter; write a level (error, warn, info, debug, trace) or target=level, separated by commas")]
pub struct BadFilter(String);

impl LogLevel {
    /// The filter in force.
    #[must_use]
    pub fn current(&self) -> String {
        self.0.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Puts another filter in force.
    ///
    /// # Errors
    /// [`BadFilter`]; the one before stays in force.
    pub fn set(&self, filter: &str) -> Result<(), BadFilter> {
        self.0.reload(parse(filter)?).map_err(|_| BadFilter(filter.to_owned()))
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.current()).finish()
    }
}

/// Starts logging for the whole process. A second call in one process leaves the first in force.
///
/// # Errors
/// [`BadFilter`].
pub fn start(log: &Log) -> Result<LogLevel, BadFilter> {
    let (filter, handle) = reload::Layer::new(parse(&log.level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let lines = match log.format {
        Format::Plain => lines.boxed(),
        Format::Json => lines.json().boxed(),
    };
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(LogLevel(handle))
}

fn parse(filter: &str) -> Result<EnvFilter, BadFilter> {
    EnvFilter::builder().parse(filter).map_err(|_| BadFilter(filter.to_owned()))
}
