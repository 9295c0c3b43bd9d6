use super::filters::text;
use super::rule::{Place, Unusable};
use crate::gateway::{PathModifier, RequestRedirect};
use crate::name::{Hostname, Text};
use crate::route::{PathRewrite, Redirect, RedirectPath};
use crate::string_match::Substitution;

/// What becomes of a path, whose prefix was matched if one is given; `None` when nothing does.
pub(super) fn path_rewrite(wanted: &PathModifier, prefix: Option<&str>) -> Result<Option<PathRewrite>, Unusable> {
    match wanted {
        PathModifier::Full(path) => substitute("^/.*$", &rooted(path.as_str())),
        PathModifier::Prefix(to) => {
            let prefix = prefix.ok_or(Unusable)?;
            match (prefix, to.as_str().trim_end_matches('/')) {
                ("", "") => Ok(None),
                // The matcher is for the slash that every path begins with.
                ("", to) => Ok(Some(PathRewrite::Prefix(format!("{}/", rooted(to)).into()))),
                // With nothing in its place, a path that is the prefix would be empty.
                (prefix, "") => substitute(&format!("^{}/*", regex::escape(prefix)), "/"),
                (_, to) => Ok(Some(PathRewrite::Prefix(rooted(to).into()))),
            }
        }
    }
}

/// Where a client is sent.
pub(super) fn redirect(wanted: &RequestRedirect, prefix: Option<&str>, place: Place<'_>) -> Result<Redirect, Unusable> {
    let RequestRedirect { scheme, hostname, path, port, status } = wanted;
    let default_of = |tls: bool| if tls { 443 } else { 80 };
    let tls = scheme.as_ref().map(|scheme| *scheme == "https");
    let port = port.or(tls.map(default_of)).unwrap_or(place.entry.port);
    // The host that was asked for is known where the domain is no wildcard; naming it leaves out the port it was asked with.
    let host = hostname.as_ref().or_else(|| place.host.filter(|host| !host.is_wildcard()));
    let unsaid = host.is_some() && port == default_of(tls.unwrap_or(place.entry.tls));
    let path = match path {
        None => None,
        Some(PathModifier::Full(path)) => Some(RedirectPath::Whole(rooted(path.as_str()).into())),
        Some(prefixed @ PathModifier::Prefix(_)) => path_rewrite(prefixed, prefix)?.map(RedirectPath::Rewrite),
    };
    Ok(Redirect {
        scheme: scheme.clone(),
        host: host.map(|host: &Hostname| -> Text { text(host) }),
        port: (!unsaid).then_some(port),
        path,
        status: *status,
        strip_query: false,
    })
}

fn substitute(pattern: &str, replacement: &str) -> Result<Option<PathRewrite>, Unusable> {
    let literal = replacement.replace('\\', r"\\");
    Substitution::new(pattern, &literal).map(|found| Some(PathRewrite::Substitute(found))).map_err(|_| Unusable)
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}
