use std::time::Duration;

use crate::gateway::Cors;
use crate::name::Text;
use crate::route::CorsPolicy;
use crate::string_match::{Pattern, Regex};

/// How long a browser may rely on a preflight unless it is told.
const MAX_AGE: Duration = Duration::from_secs(5);

pub(super) fn cors_policy(cors: &Cors) -> CorsPolicy {
    CorsPolicy {
        origins: cors.origins.iter().filter_map(|origin| pattern(origin.as_str())).collect(),
        methods: list(&cors.methods),
        headers: list(&cors.headers),
        expose: list(&cors.expose),
        max_age: Some(cors.max_age.unwrap_or(MAX_AGE)),
        credentials: cors.credentials,
        forward_unmatched_preflights: false,
        ..CorsPolicy::default()
    }
}

fn list(elements: &[Text]) -> Text {
    elements.iter().map(Text::as_str).collect::<Vec<_>>().join(",").into()
}

/// How an origin must look. One whose expression cannot be used is allowed to nobody.
fn pattern(origin: &str) -> Option<Pattern> {
    if origin == "*" {
        return Regex::new(".*").ok().map(Pattern::Regex);
    }
    // A browser does not write the port that goes without saying.
    let port = match origin.split_once("://") {
        Some(("http", _)) => ":80",
        Some(("https", _)) => ":443",
        _ => "",
    };
    let origin = origin.strip_suffix(port).unwrap_or(origin);
    if !origin.contains('*') {
        return Some(Pattern::Exact { text: origin.into(), ignore_case: true });
    }
    let parts: Vec<_> = origin.split('*').map(regex::escape).collect();
    Regex::new(&format!("(?i){}", parts.join("[^/]+"))).ok().map(Pattern::Regex)
}
