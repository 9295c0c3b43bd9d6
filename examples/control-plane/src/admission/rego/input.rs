//! What policies are asked.

use serde_json::{Value, json};

use crate::admission::judge::{Review, Subject};

/// The question, as users of OPA's admission control and of Gatekeeper expect it.
pub(super) fn of(review: &Review<'_>) -> Value {
    let subject = review.subject();
    let Subject { group, version, kind, name, .. } = subject;
    let namespace = subject.scope();
    let mut request = json!({
        "kind": {"group": group, "version": version, "kind": kind},
        "name": name,
        "namespace": namespace,
        "operation": review.operation.name(),
        "object": review.object,
        "oldObject": review.old,
    });
    if let (Some(user), Some(fields)) = (review.user, request.as_object_mut()) {
        fields.insert("userInfo".to_owned(), user.clone());
    }
    json!({"request": request, "review": request})
}
