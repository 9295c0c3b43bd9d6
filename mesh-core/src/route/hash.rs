use std::borrow::Cow;
use std::hash::Hasher;
use std::time::Duration;

use smallvec::SmallVec;
use twox_hash::XxHash64;

use crate::name::Text;
use crate::request::{Field, Request};
use crate::string_match::Substitution;

/// A part of a request's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPolicy {
    /// What is hashed. Without a value it adds nothing.
    pub key: HashKey,
    /// Whether what follows is left out once there is a hash.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A header; the order of several values does not count.
    Header {
        /// Which.
        name: Field,
        /// What each value becomes first.
        rewrite: Option<Substitution>,
    },
    /// A cookie.
    Cookie(CookieKey),
    /// The address of the client.
    Source,
    /// The first value of a parameter of the query.
    Query(Text),
    /// The connection or channel the request comes from: gRPC's `io.grpc.channel_id`.
    Channel,
}

/// A cookie that keeps a client with its endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieKey {
    /// Its name.
    pub name: Text,
    /// If given, a client without the cookie gets one for so long; zero for its session.
    pub lifetime: Option<Duration>,
    /// The path it is for; empty for none.
    pub path: Text,
    /// More attributes of it, such as `SameSite` and `Strict`.
    pub attributes: Vec<(Text, Text)>,
}

/// The hash of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestHash<'t> {
    /// The hash. `None` if no policy had a value: chance chooses.
    pub value: Option<u64>,
    /// Cookies that the answer must set, with their values.
    pub cookies: Vec<(&'t CookieKey, String)>,
}

impl<'t> RequestHash<'t> {
    /// Hashes a request as Envoy does: XXH64 of each value, combined in order.
    ///
    /// `channel` identifies the channel for [`HashKey::Channel`]; `random` becomes the value of cookies that are made.
    #[must_use]
    pub fn new(policies: &'t [HashPolicy], request: &Request<'_>, channel: Option<u64>, random: u64) -> Self {
        let mut cookies = Vec::new();
        let mut combined: Option<u64> = None;
        for policy in policies {
            let value = match &policy.key {
                HashKey::Header { name, rewrite } => header(request, name, rewrite.as_ref()),
                HashKey::Cookie(cookie) => match request.cookie(cookie.name.as_str()).filter(|value| !value.is_empty())
                {
                    Some(value) => Some(xxh64(value.as_bytes())),
                    None => cookie.lifetime.map(|_| {
                        // Each cookie of a request gets another value; which does not matter as long as it comes back.
                        let value =
                            format!("{:016x}", random.rotate_left(u32::try_from(cookies.len()).unwrap_or_default()));
                        let hash = xxh64(value.as_bytes());
                        cookies.push((cookie, value));
                        hash
                    }),
                },
                HashKey::Source => request.head.source.map(|source| xxh64(source.to_string().as_bytes())),
                HashKey::Query(name) => request.query_value(name.as_str()).map(|value| xxh64(value.as_bytes())),
                HashKey::Channel => channel.map(|channel| xxh64(&channel.to_le_bytes())),
            };
            if let Some(value) = value {
                // Rotated, so that the same value twice does not cancel itself out.
                combined = Some(combined.unwrap_or_default().rotate_left(1) ^ value);
            }
            if policy.terminal && combined.is_some() {
                break;
            }
        }
        Self { value: combined, cookies }
    }
}

impl CookieKey {
    /// The `Set-Cookie` that gives a client this cookie.
    #[must_use]
    pub fn set(&self, value: &str) -> String {
        let mut text = format!("{}=\"{value}\"", self.name);
        if let Some(lifetime) = self.lifetime.filter(|lifetime| !lifetime.is_zero()) {
            text.push_str(&format!("; Max-Age={}", lifetime.as_secs()));
        }
        if !self.path.is_empty() {
            text.push_str(&format!("; Path={}", self.path));
        }
        for (name, value) in &self.attributes {
            match value.is_empty() {
                true => text.push_str(&format!("; {name}")),
                false => text.push_str(&format!("; {name}={value}")),
            }
        }
        text.push_str("; HttpOnly");
        text
    }
}

fn xxh64(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

fn header(request: &Request<'_>, name: &Field, rewrite: Option<&Substitution>) -> Option<u64> {
    let rewritten = |value: &mut Cow<'_, str>| {
        if let Some(rewrite) = rewrite {
            *value = Cow::Owned(rewrite.replace_all(value).into_owned());
        }
    };
    let mut values: SmallVec<[Cow<'_, str>; 4]> = match name {
        Field::Header(name) => {
            request.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect()
        }
        field => request.text(field).into_iter().collect(),
    };
    if values.is_empty() {
        return None;
    }
    values.iter_mut().for_each(rewritten);
    values.sort_unstable();
    let mut hasher = XxHash64::with_seed(0);
    values.iter().for_each(|value| hasher.write(value.as_bytes()));
    Some(hasher.finish())
}
