//! Texts of the resources that mean something: names, paths, durations, statuses.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderName, StatusCode};

/// A host name of the Gateway API: lower case, no address, a wildcard only as the whole first label.
pub(crate) fn is_hostname(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && name.parse::<IpAddr>().is_err() && name.split('.').all(label)
}

/// A path of type `Exact` or `PathPrefix`.
pub(crate) fn path_fault(path: &str) -> Option<&'static str> {
    let has = |part: &str| path.contains(part);
    match path {
        _ if !path.starts_with('/') => Some("does not begin with /"),
        _ if path.len() > 1024 => Some("is longer than 1024 bytes"),
        _ if has("//") || has("/./") || has("/../") || has("#") => Some("must not hold //, /./, /../ or #"),
        _ if has("%2f") || has("%2F") => Some("must not hold an escaped slash"),
        _ if path.ends_with("/.") || path.ends_with("/..") => Some("must not end in /. or /.."),
        _ => None,
    }
}

/// The name of a header: a token, and no pseudo-header.
pub(crate) fn is_header_name(name: &str) -> bool {
    name.len() <= 256 && HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// A duration of the Gateway API (GEP-2257): one to four of `<1 to 5 digits><h|m|s|ms>`, which are added.
pub(crate) fn gep_duration(text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    let (mut rest, mut count) = (text, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let units = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, after) = after.split_at(units);
        if !(1..=5).contains(&digits) {
            return None;
        }
        sum += unit_of(unit)?.checked_mul(number.parse().ok()?)?;
        (rest, count) = (after, count + 1);
    }
    (1..=4).contains(&count).then_some(sum)
}

fn unit_of(unit: &str) -> Option<Duration> {
    Some(match unit {
        "h" => Duration::from_secs(60 * 60),
        "m" => Duration::from_secs(60),
        "s" => Duration::from_secs(1),
        "ms" => Duration::from_millis(1),
        _ => return None,
    })
}

/// A duration of Istio's kinds: as Go writes them, so that there may be fractions (`1.5s`).
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, after) = rest.split_at(digits);
        let units = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, after) = after.split_at(units);
        let number: f64 = number.parse().ok().filter(|number: &f64| *number < 1e9)?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * unit_of(unit)?.as_secs_f64()).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

/// A status that a client may get.
pub(crate) fn error_status(text: &str) -> Option<StatusCode> {
    let code: u16 = text.parse().ok()?;
    (200..600).contains(&code).then(|| StatusCode::from_u16(code).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, gateway, istio) in [
            ("10s", Some(10_000), Some(10_000)),
            ("1h2h", Some(3 * 3_600_000), Some(3 * 3_600_000)),
            ("1m30s500ms", Some(90_500), Some(90_500)),
            ("00005s", Some(5_000), Some(5_000)),
            ("1.5s", None, Some(1_500)),
            ("0s", Some(0), Some(0)),
            ("100000s", None, Some(100_000_000)),
            ("1s1s1s1s1s", None, Some(5_000)),
            ("0", None, None),
            ("", None, None),
            ("-1s", None, None),
            ("1d", None, None),
            ("s", None, None),
            ("1.2.3s", None, None),
            ("99999999999999h", None, None),
        ] {
            let millis = |duration: Option<Duration>| duration.map(|duration| duration.as_millis());
            assert_eq!(millis(gep_duration(text)), gateway, "{text}");
            assert_eq!(millis(duration(text)), istio, "{text}");
        }
    }

    #[test]
    fn host_names() {
        for (text, good) in [
            ("a", true),
            ("a.example", true),
            ("*.example", true),
            ("*", false),
            ("a.*.example", false),
            ("*a.example", false),
            ("A.example", false),
            ("a..example", false),
            ("-a.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_hostname(text), good, "{text}");
        }
    }

    #[test]
    fn paths() {
        for (text, good) in [
            ("/", true),
            ("/a/b/", true),
            ("/a/..b", true),
            ("a", false),
            ("", false),
            ("/a//b", false),
            ("/a/./b", false),
            ("/a/../b", false),
            ("/a%2Fb", false),
            ("/a%2fb", false),
            ("/a#b", false),
            ("/a/..", false),
            ("/.", false),
        ] {
            assert_eq!(path_fault(text).is_none(), good, "{text}");
        }
    }
}
