//! The names that a question may mean. Pure.

use mesh_core::name::Hostname;

use super::Zone;

/// A name to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: Hostname,
    /// What is left of the question without the search domain that the client's stub has appended, if it did.
    pub(super) stripped: Option<Hostname>,
}

/// All names that a client of `namespace` may mean by `asked`, in the order in which they are tried.
pub(super) fn candidates(asked: &Hostname, namespace: &str, zone: &Zone) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut add = |text: &str, stripped: Option<&Hostname>| {
        if let Ok(name) = Hostname::parse(text)
            && found.iter().all(|known| known.name != name)
        {
            found.push(Candidate { name, stripped: stripped.cloned() });
        }
    };
    add(asked.as_str(), None);
    for name in expansions(asked.as_str(), namespace, zone.cluster_domain.as_str()) {
        add(&name, None);
    }
    for domain in search(namespace, zone) {
        let rest = asked.as_str().strip_suffix(domain.as_str()).and_then(|rest| rest.strip_suffix('.'));
        let Some(rest) = rest.and_then(|rest| Hostname::parse(rest).ok()) else { continue };
        add(rest.as_str(), Some(&rest));
        for name in expansions(rest.as_str(), namespace, zone.cluster_domain.as_str()) {
            add(&name, Some(&rest));
        }
    }
    found
}

/// The full names of Kubernetes services that a short one may stand for.
fn expansions(name: &str, namespace: &str, domain: &str) -> Vec<String> {
    let labels: Vec<&str> = name.split('.').collect();
    match labels.as_slice() {
        [_] => vec![format!("{name}.{namespace}.svc.{domain}")],
        [_, _] => vec![format!("{name}.svc.{domain}"), format!("{name}.{namespace}.svc.{domain}")],
        [_, _, "svc"] => vec![format!("{name}.{domain}"), format!("{name}.svc.{domain}")],
        [_, _, _] => vec![format!("{name}.svc.{domain}")],
        [_, _, _, "svc"] => vec![format!("{name}.{domain}")],
        _ => Vec::new(),
    }
}

fn search(namespace: &str, zone: &Zone) -> Vec<Hostname> {
    if let Some(search) = &zone.search {
        return search.clone();
    }
    let domain = &zone.cluster_domain;
    let names = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_string()];
    names.iter().filter_map(|name| Hostname::parse(name).ok()).collect()
}
