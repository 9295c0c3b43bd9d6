use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Refusal;
use crate::http::limits::NOMINATED_HEADERS;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Taken away by naming them, these would change who a request comes from, where it goes or where it ends.
const PASSED_ON: [&str; 9] = [
    "host",
    "content-length",
    "authorization",
    "cookie",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-client-cert",
];

/// Takes away what concerns one connection only (RFC 9110 section 7.6.1), but an upgrade to another protocol than HTTP/2,
/// and `te: trailers`. Gives whether there is such an upgrade.
pub(super) fn strip_request(headers: &mut HeaderMap) -> Result<bool, Refusal> {
    let mut names_upgrade = false;
    let mut nominated = [const { None }; NOMINATED_HEADERS];
    let mut count = 0;
    for value in headers.get_all(CONNECTION) {
        let value = value.to_str().map_err(|_| Refusal::MalformedHeader(CONNECTION))?;
        for token in value.split(',').map(str::trim).filter(|token| !token.is_empty()) {
            if token.eq_ignore_ascii_case("upgrade") {
                names_upgrade = true;
                continue;
            }
            let name = HeaderName::try_from(token).map_err(|_| Refusal::Nominated)?;
            if PASSED_ON.contains(&name.as_str()) {
                return Err(Refusal::Nominated);
            }
            if matches!(name.as_str(), "close" | "keep-alive" | "te") {
                continue;
            }
            *nominated.get_mut(count).ok_or(Refusal::Nominated)? = Some(name);
            count += 1;
        }
    }
    for name in nominated.into_iter().flatten() {
        headers.remove(name);
    }
    strip_fixed(headers);
    headers.remove(HTTP2_SETTINGS);

    let has_trailers = headers.get_all(TE).iter().any(|value| value.to_str().is_ok_and(accepts_trailers));
    if has_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(TE);
    }

    let mut protocols = headers.get_all(UPGRADE).iter();
    let upgrades = match (protocols.next(), protocols.next()) {
        // HTTP/2 by upgrade would carry requests past everything that looks at them.
        (Some(one), None) => names_upgrade && is_token(one) && !one.as_bytes().eq_ignore_ascii_case(b"h2c"),
        _ => false,
    };
    if upgrades {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(UPGRADE);
    }
    Ok(upgrades)
}

/// Takes away what concerns one connection only, but the protocol that the connection changes to.
pub(in crate::http) fn strip_response(headers: &mut HeaderMap, switched: bool) {
    if let Some(first) = headers.get(CONNECTION).cloned() {
        let rest: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().skip(1).cloned().collect();
        for value in std::iter::once(first).chain(rest) {
            for token in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                // A response cannot take its own length or kind away.
                let stays = ["upgrade", "content-length", "content-type"];
                if !token.is_empty() && !stays.iter().any(|name| token.eq_ignore_ascii_case(name)) {
                    headers.remove(token);
                }
            }
        }
    }
    strip_fixed(headers);
    headers.remove(TE);
    if switched {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(UPGRADE);
    }
}

fn strip_fixed(headers: &mut HeaderMap) {
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

fn accepts_trailers(value: &str) -> bool {
    value.split(',').any(|one| one.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("trailers"))
}

fn is_token(value: &HeaderValue) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    !value.is_empty() && value.as_bytes().iter().all(is_tchar)
}
