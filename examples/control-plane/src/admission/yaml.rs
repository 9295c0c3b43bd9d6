//! YAML of one document as a value, within limits: what it costs to read a text follows from its length.

use serde_json::Value;
use serde_saphyr::{Error, Options};

/// Deepest nesting. Nothing that is meant comes near, and each level takes kilobytes of the stack.
const DEEPEST: usize = 40;
/// Largest number of scalars, lists and mappings in a document, those that aliases repeat among them.
const MOST_NODES: usize = 2_000_000;
/// Largest number of those that aliases repeat.
const MOST_REPEATED: usize = 100_000;

/// Why a text is no document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// The line, counted from that of the text, 1.
    pub(super) line: Option<u64>,
    /// What is wrong.
    pub(super) message: String,
}

/// Reads a document.
pub(super) fn parse(text: &str) -> Result<Value, Mistake> {
    // YAML knows no such character, and parsers differ in what they make of it.
    if let Some(at) = text.find('\0') {
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() as u64 + 1;
        return Err(Mistake { line: Some(line), message: "it holds a NUL character".to_owned() });
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| mistake(&error))
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            max_nodes: MOST_NODES,
            max_events: 2 * MOST_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_REPEATED,
            max_replay_stack_depth: 8,
        },
        with_snippet: false,
    }
}

fn mistake(error: &Error) -> Mistake {
    let text = mesh_host::settings::first_line(&error.without_snippet().to_string());
    // The line that it says is that in the document, not in the file.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
    Mistake { line: error.location().map(|location| location.line()), message }
}
