use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::answer::{DescriptorStatus, Ruling};
use super::descriptor::Descriptor;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What a client is told of its limits (draft-polli-ratelimit-headers-03): of the one that is next to be reached, and the
/// windows of all.
pub(super) fn told(asked: &[Descriptor], ruling: &Ruling, by_default: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let told = asked.iter().zip(&ruling.statuses).filter(|(asked, _)| asked.headers.unwrap_or(by_default));
    let limits = told.filter_map(|(_, status)| Some((status.limit.as_ref()?, status)));
    let mut windows = String::new();
    let mut next: Option<(u32, &DescriptorStatus)> = None;
    for (limit, status) in limits {
        if next.is_none_or(|(_, known)| status.remaining < known.remaining) {
            next = Some((limit.requests, status));
        }
        let Some(unit) = limit.unit else { continue };
        // Writing to a text cannot fail.
        let _ = write!(windows, ", {};w={}", limit.requests, unit.seconds());
        if !limit.name.is_empty()
            && limit.name.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte))
        {
            let _ = write!(windows, ";name=\"{}\"", limit.name);
        }
    }
    let Some((requests, status)) = next else { return headers };
    if let Ok(value) = HeaderValue::try_from(format!("{requests}{windows}")) {
        headers.insert(LIMIT, value);
    }
    headers.insert(REMAINING, status.remaining.into());
    headers.insert(RESET, status.reset.unwrap_or_default().as_secs().into());
    headers
}

/// After how many seconds a client may come again: when all limits that are reached have more.
pub(super) fn retry_after(ruling: &Ruling) -> Option<HeaderValue> {
    let reached = ruling.statuses.iter().filter(|status| status.over_limit);
    let longest = reached.map(|status| status.reset.unwrap_or_default().as_secs()).max()?;
    Some(longest.max(1).into())
}
