//! The requests that stand for all others.

use mesh_core::name::NamespacedHostname;
use serde_json::{Map, Value};

use super::super::probe::Probe;
use super::wishes::{Baggage, Item, Wishes};

/// Most requests that stand for those of one port.
pub(super) const MAX_PROBES: usize = 4096;

/// The requests that are tried at one port, and how they are told apart.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// `None` is a connection that does not begin like HTTP.
    pub(super) all: Vec<Option<Probe>>,
    /// Of each, its place in the lists of labels: method, path, host, baggage.
    places: Vec<[usize; 4]>,
    labels: [Vec<String>; 4],
    /// Whether there would be more than are tried.
    pub(super) cut: bool,
}

impl Probes {
    /// A connection of which nobody reads more than where it leads.
    pub(super) fn opaque() -> Self {
        let labels = [0; 4].map(|_| vec![String::new()]);
        Self { all: vec![None], places: vec![[0; 4]], labels, cut: false }
    }

    /// The requests that conditions can tell apart: each method, path and host that one of them names, one that none of
    /// them names, and what rules want besides, one rule at a time.
    pub(super) fn of(wishes: &Wishes, service: &NamespacedHostname, with_opaque: bool) -> Self {
        let common = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
        let other = common.into_iter().find(|method| !wishes.methods.contains(*method)).unwrap_or("X-OTHER");
        let mut methods: Vec<(String, String)> =
            wishes.methods.iter().map(|method| (method.clone(), method.clone())).collect();
        methods.push((other.to_owned(), "other methods".to_owned()));
        let mut paths: Vec<(String, String)> =
            wishes.paths.iter().map(|(path, label)| (path.clone(), label.clone())).collect();
        paths.push(("/another/path".to_owned(), "other paths".to_owned()));
        let own = service.hostname.as_str().to_owned();
        let mut hosts: Vec<(String, String)> = vec![(own.clone(), format!("host {own}"))];
        let named = wishes.hosts.iter().filter(|(host, _)| **host != own);
        hosts.extend(named.map(|(host, label)| (host.clone(), format!("host {label}"))));
        if !wishes.hosts.is_empty() {
            hosts.push(("another.example".to_owned(), "other hosts".to_owned()));
        }
        let mut baggage = wishes.baggage.clone();
        baggage.insert(Baggage::new());
        let labels = [
            methods.iter().map(|(_, label)| label.clone()).collect(),
            paths.iter().map(|(_, label)| label.clone()).collect(),
            hosts.iter().map(|(_, label)| label.clone()).collect(),
            baggage.iter().map(brings).collect(),
        ];
        let mut probes = Self { labels, ..Self::default() };
        if with_opaque {
            probes.labels[0].push("connections that are not HTTP".to_owned());
            probes.all.push(None);
            probes.places.push([methods.len(), paths.len(), hosts.len(), baggage.len()]);
        }
        for (carried, baggage) in baggage.iter().enumerate() {
            for (path_at, (path, _)) in paths.iter().enumerate() {
                for (method_at, (method, _)) in methods.iter().enumerate() {
                    for (host_at, (host, _)) in hosts.iter().enumerate() {
                        if probes.all.len() >= MAX_PROBES {
                            probes.cut = true;
                            return probes;
                        }
                        if let Some(probe) = probe(method, host, path, baggage, wishes) {
                            probes.all.push(Some(probe));
                            probes.places.push([method_at, path_at, host_at, carried]);
                        }
                    }
                }
            }
        }
        probes
    }

    /// Some of them in words; nothing where it is all of them.
    pub(super) fn describe(&self, some: &[u16]) -> Vec<String> {
        if some.len() == self.all.len() {
            return Vec::new();
        }
        let mut boxes: Vec<[Vec<usize>; 4]> = some
            .iter()
            .filter_map(|at| self.places.get(usize::from(*at)))
            .map(|place| place.map(|at| vec![at]))
            .collect();
        for dimension in 0..4 {
            boxes = merge(boxes, dimension);
        }
        boxes.iter().map(|one| self.label(one)).collect()
    }

    fn label(&self, one: &[Vec<usize>; 4]) -> String {
        let [methods, paths, hosts, baggage] = one;
        let names = |dimension: usize, places: &[usize]| -> Vec<&str> {
            let labels = &self.labels[dimension];
            places.iter().filter_map(|at| labels.get(*at)).map(String::as_str).collect()
        };
        let methods_known = self.labels[0].iter().filter(|label| !label.starts_with("connections")).count();
        let mut words = Vec::new();
        if methods.len() < methods_known {
            words.push(names(0, methods).join(","));
        }
        if paths.len() < self.labels[1].len() {
            words.push(names(1, paths).join(" "));
        }
        if hosts.len() < self.labels[2].len() {
            words.push(format!("({})", names(2, hosts).join(", ")));
        }
        if baggage.len() < self.labels[3].len() {
            words.push(names(3, baggage).join(" or "));
        }
        let text = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        if text.is_empty() { "all requests".to_owned() } else { text }
    }
}

/// Puts those together that differ in one dimension only.
fn merge(boxes: Vec<[Vec<usize>; 4]>, dimension: usize) -> Vec<[Vec<usize>; 4]> {
    let mut merged: Vec<[Vec<usize>; 4]> = Vec::new();
    let mut known: std::collections::HashMap<[Vec<usize>; 4], usize> = std::collections::HashMap::new();
    for mut one in boxes {
        let mut values = std::mem::take(&mut one[dimension]);
        match known.get(&one).and_then(|at| merged.get_mut(*at)) {
            Some(same) => same[dimension].append(&mut values),
            None => {
                known.insert(one.clone(), merged.len());
                one[dimension] = values;
                merged.push(one);
            }
        }
    }
    merged.iter_mut().for_each(|one| one[dimension].sort_unstable());
    merged
}

fn brings(baggage: &Baggage) -> String {
    if baggage.is_empty() {
        return "with nothing else".to_owned();
    }
    let item = |(item, value): (&Item, &String)| match item {
        Item::Header(name) => format!("{name}: {value}"),
        Item::Query(name) => format!("?{name}={value}"),
        Item::Cookie(name) => format!("cookie {name}={value}"),
        Item::Claim(path) => format!("claim {}={value}", path.join(".")),
    };
    format!("with {}", baggage.iter().map(item).collect::<Vec<_>>().join(" and "))
}

fn probe(method: &str, host: &str, path: &str, baggage: &Baggage, wishes: &Wishes) -> Option<Probe> {
    let (mut headers, mut query, mut cookies) = (Vec::new(), Vec::new(), Vec::new());
    let mut claims = Map::new();
    for (item, value) in baggage {
        match item {
            Item::Header(name) => headers.push((name.clone(), value.clone())),
            Item::Query(name) => query.push(format!("{name}={value}")),
            Item::Cookie(name) => cookies.push((name.clone(), value.clone())),
            Item::Claim(path) => set(&mut claims, path, value),
        }
    }
    let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
    let probe = Probe::new(method, host, &path, &headers).ok()?.with_cookies(&cookies).ok()?;
    if claims.is_empty() {
        return Some(probe);
    }
    if let Some(issuer) = wishes.issuers.first() {
        claims.entry("iss").or_insert_with(|| Value::from(issuer.as_str()));
    }
    claims.entry("sub").or_insert_with(|| Value::from("somebody"));
    Some(probe.with_token(claims))
}

fn set(claims: &mut Map<String, Value>, path: &[String], value: &str) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        claims.insert(first.clone(), Value::from(value));
        return;
    }
    let inner = claims.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        set(inner, rest, value);
    }
}
