//! From what a rule gives to messages.

use regorus::Value;

/// What a rule says where it does not say why.
const WITHOUT_REASON: &str = "the rule holds, and says nothing more";

/// The messages of a rule, in the order of the evaluator, which is that of their values.
pub(super) fn messages(value: &Value) -> Vec<String> {
    match value {
        Value::Undefined | Value::Bool(false) => Vec::new(),
        Value::Set(set) => set.iter().map(message).collect(),
        Value::Array(array) => array.iter().map(message).collect(),
        // `deny[msg] if …` in Rego 1.0 makes an object of messages that are true.
        Value::Object(object) => {
            let held = object.iter_sorted().filter(|(_, holds)| **holds != Value::Bool(false));
            held.map(|(key, _)| message(key)).collect()
        }
        other => vec![message(other)],
    }
}

fn message(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.to_string(),
        Value::Object(object) => match object.get(&Value::from("msg")) {
            Some(Value::String(text)) if !text.is_empty() => text.to_string(),
            _ => value.to_json_str().unwrap_or_else(|_| WITHOUT_REASON.to_owned()),
        },
        Value::String(_) | Value::Bool(_) | Value::Null | Value::Undefined => WITHOUT_REASON.to_owned(),
        other => other.to_json_str().unwrap_or_else(|_| WITHOUT_REASON.to_owned()),
    }
}
