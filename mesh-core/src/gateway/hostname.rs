use crate::name::Hostname;

/// The names that both a listener and a route are for; `None` if there are none. A listener without a name is for all.
///
/// A wildcard is for all names below it, at any depth, and not for its own end: `*.a.com` is for `x.a.com` and `y.x.a.com`,
/// not for `a.com`.
#[must_use]
pub fn intersection(listener: Option<&Hostname>, route: &Hostname) -> Option<Hostname> {
    match listener {
        Some(listener) if covers(route, listener) => Some(listener.clone()),
        Some(listener) if !covers(listener, route) => None,
        _ => Some(route.clone()),
    }
}

/// Whether a listener is for any host of a route. A route without host names is for those of its listener.
#[must_use]
pub fn intersects(listener: Option<&Hostname>, hostnames: &[Hostname]) -> bool {
    hostnames.is_empty() || hostnames.iter().any(|hostname| intersection(listener, hostname).is_some())
}

/// Whether a name or wildcard is the same as another, or for all that the other is for.
fn covers(wide: &Hostname, narrow: &Hostname) -> bool {
    wide == narrow || (wide.is_wildcard() && narrow.wildcards().any(|wildcard| wildcard == wide.as_str()))
}
