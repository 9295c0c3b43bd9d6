use crate::name::Text;
use crate::string_match::StringMatch;

/// The domain by which policies mean the mesh's own, whatever it is called.
const OWN: &str = "cluster.local";

/// Principals, each under all names that the mesh's trust domain has. One that is of another domain, or of any, stays alone.
pub(super) fn with_aliases(principals: &[Text], trust_domains: &[Text]) -> Vec<Text> {
    principals.iter().flat_map(|principal| aliases(principal, trust_domains)).collect()
}

fn aliases(principal: &Text, trust_domains: &[Text]) -> Vec<Text> {
    let unchanged = || vec![principal.clone()];
    let Some((domain, rest)) = principal.as_str().split_once('/') else { return unchanged() };
    // `<domain>/ns/<namespace>/sa/<account>`, and a domain that is not left open.
    if rest.split('/').count() != 4 || domain == "*" {
        return unchanged();
    }
    let wanted = StringMatch::parse(domain);
    if domain != OWN && !trust_domains.iter().any(|known| wanted.is_match(known.as_str())) {
        return unchanged();
    }
    let mut names: Vec<Text> = Vec::with_capacity(trust_domains.len());
    for known in trust_domains {
        let name = match wanted.is_match(known.as_str()) {
            true => principal.clone(),
            false => format!("{known}/{rest}").into(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { unchanged() } else { names }
}
