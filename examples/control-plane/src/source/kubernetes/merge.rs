//! What a status is to be, given what it is and what we have to say. Pure.

use serde_json::{Map, Value};

/// The status with ours in it.
///
/// | field | what happens |
/// | --- | --- |
/// | `conditions` | ours in the place of those of their types; those of other types stay. One of ours without a `status` is taken away |
/// | `parents`, `ancestors` | ours in the place of all of our controller's; those of other controllers stay, in their order |
/// | `listeners` | ours; a Gateway has one controller |
/// | any other | ours; what we do not name stays |
///
/// A list that is empty is not begun.
///
/// `lastTransitionTime` of a condition stays as long as its `status` does, and is `now` otherwise: what we hand in says
/// nothing about it.
pub(super) fn merged(current: &Value, desired: &Value, controller: &str, now: &str) -> Value {
    let mut merged = current.as_object().cloned().unwrap_or_default();
    for (field, ours) in desired.as_object().into_iter().flatten() {
        let theirs = merged.get(field);
        let value = match field.as_str() {
            "conditions" => conditions(theirs, ours, now),
            "listeners" => by_key(items(theirs), ours, now, |item| item.get("name")),
            "parents" => by_controller(theirs, ours, controller, now, "parentRef"),
            "ancestors" => by_controller(theirs, ours, controller, now, "ancestorRef"),
            _ => ours.clone(),
        };
        // Nothing to say, and nothing was said before.
        if !merged.contains_key(field) && value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        merged.insert(field.clone(), value);
    }
    // One that is not there is as one that says nothing.
    if merged.is_empty() { current.clone() } else { Value::Object(merged) }
}

fn items(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn conditions(theirs: Option<&Value>, ours: &Value, now: &str) -> Value {
    let named = |list: &'_ [Value], kind: &Value| list.iter().position(|condition| condition.get("type") == Some(kind));
    let mut all = items(theirs).to_vec();
    for condition in items(Some(ours)) {
        let Some(mut fields) = condition.as_object().cloned() else { continue };
        let place = fields.get("type").and_then(|kind| named(&all, kind));
        if !fields.contains_key("status") {
            place.map(|place| all.remove(place));
            continue;
        }
        let before = place.and_then(|place| all.get(place));
        let unchanged = before.filter(|before| before.get("status") == fields.get("status"));
        let since = unchanged.and_then(|before| before.get("lastTransitionTime")).cloned();
        fields.insert("lastTransitionTime".to_owned(), since.unwrap_or_else(|| now.into()));
        match place.and_then(|place| all.get_mut(place)) {
            Some(place) => *place = Value::Object(fields),
            None => all.push(Value::Object(fields)),
        }
    }
    Value::Array(all)
}

/// Ours, each with the conditions that the one of the same key had before.
fn by_key<'a>(
    before: impl IntoIterator<Item = &'a Value> + Clone,
    ours: &Value,
    now: &str,
    key: impl Fn(&Value) -> Option<&Value>,
) -> Value {
    let one = |item: &Value| {
        let Some(mut fields) = item.as_object().cloned() else { return item.clone() };
        let same = before.clone().into_iter().find(|other| key(other).is_some() && key(other) == key(item));
        if let Some(ours) = fields.get("conditions").cloned() {
            let known = same.and_then(|same| same.get("conditions"));
            // Of a type that we do not name any more, nothing stays: the whole entry is ours.
            let known = items(known)
                .iter()
                .filter(|condition| items(Some(&ours)).iter().any(|other| other.get("type") == condition.get("type")));
            let known = Value::Array(known.cloned().collect());
            fields.insert("conditions".to_owned(), conditions(Some(&known), &ours, now));
        }
        Value::Object(fields)
    };
    Value::Array(items(Some(ours)).iter().map(one).collect())
}

fn by_controller(theirs: Option<&Value>, ours: &Value, controller: &str, now: &str, reference: &str) -> Value {
    let is_ours = |item: &&Value| item.get("controllerName").and_then(Value::as_str) == Some(controller);
    let (mine, mut all): (Vec<_>, Vec<_>) = items(theirs).iter().partition(is_ours);
    let named = Value::Array(
        items(Some(ours))
            .iter()
            .map(|item| {
                let mut fields: Map<String, Value> = item.as_object().cloned().unwrap_or_default();
                fields.insert("controllerName".to_owned(), controller.into());
                Value::Object(fields)
            })
            .collect(),
    );
    let ours = by_key(mine, &named, now, |item| item.get(reference));
    all.extend(items(Some(&ours)));
    Value::Array(all.into_iter().cloned().collect())
}
