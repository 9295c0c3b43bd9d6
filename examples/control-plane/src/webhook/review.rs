use serde::Deserialize;
use serde_json::{Value, json};

/// What somebody is about to do, as the API server asks about it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// By which the answer is told from others.
    pub uid: String,
    /// What is done.
    pub operation: Operation,
    /// The namespace; empty for what is in none.
    #[serde(default)]
    pub namespace: String,
    /// The object as it is to be; `None` when it is to go.
    #[serde(default)]
    pub object: Option<Value>,
    /// The object as it is; `None` when it is new.
    #[serde(default)]
    pub old_object: Option<Value>,
    /// Who does it (`userInfo`).
    #[serde(default)]
    pub user_info: Value,
    /// Whether it is only tried.
    #[serde(default)]
    pub dry_run: bool,
}

/// What is done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
    /// Somebody connects to it; not asked for by our configuration.
    Connect,
}

/// What is said about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it must not be; `None` allows it.
    pub refusal: Option<String>,
    /// What whoever does it is told in any case, a line each.
    pub warnings: Vec<String>,
}

impl Verdict {
    /// A refusal.
    #[must_use]
    pub fn refuse(why: impl Into<String>) -> Self {
        Self { refusal: Some(why.into()), warnings: Vec::new() }
    }
}

/// Judges what is about to be done. Called from a thread that may block, for as long as [`Webhook`](super::Webhook) waits.
pub trait Validator: Send + Sync + 'static {
    /// The verdict. Equal requests get equal verdicts, and nothing else comes of it (`sideEffects: None`).
    fn validate(&self, request: &Request) -> Verdict;
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    request: Request,
}

/// Reads an `AdmissionReview`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(body: &[u8]) -> Result<Request, String> {
    let review: Review = serde_json::from_slice(body).map_err(|error| format!("no AdmissionReview: {error}"))?;
    match (review.api_version.as_str(), review.kind.as_str()) {
        ("admission.k8s.io/v1", "AdmissionReview") => Ok(review.request),
        (version, kind) => Err(format!("`{version} {kind}` is no `admission.k8s.io/v1 AdmissionReview`")),
    }
}

/// Bytes of a warning that API servers pass on whole; and of all of them together.
const WARNING_BYTES: usize = 256;
const WARNINGS_BYTES: usize = 4096;

/// The answer to a request.
pub(super) fn answer(uid: &str, verdict: Verdict) -> Value {
    let mut response = json!({"uid": uid, "allowed": verdict.refusal.is_none()});
    if let Some(message) = verdict.refusal {
        response["status"] = json!({"code": 403, "reason": "Invalid", "message": message});
    }
    let mut left = WARNINGS_BYTES;
    let warnings = verdict.warnings.into_iter().map(short).take_while(|warning| {
        let fits = warning.len() <= left;
        left = left.saturating_sub(warning.len());
        fits
    });
    let warnings: Vec<_> = warnings.collect();
    if !warnings.is_empty() {
        response["warnings"] = warnings.into();
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// A warning stands in a header of HTTP: one line of it.
fn short(warning: String) -> String {
    let line: String = warning.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    match line.char_indices().map(|(index, one)| index + one.len_utf8()).take_while(|end| *end <= WARNING_BYTES).last()
    {
        Some(end) if end < line.len() => line[..end].to_owned(),
        _ => line,
    }
}
