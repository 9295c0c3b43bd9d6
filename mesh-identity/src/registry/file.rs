use std::collections::btree_map::Entry as Slot;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use serde::Deserialize;

use super::{Entries, Entry, Selector};
use crate::hex::hex;
use crate::jose::json;

/// Text is no registry of entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntriesError {
    /// Not JSON of that form.
    #[error("not a list of entries: {0}")]
    Form(String),
    /// An entry is wrong.
    #[error("entry {index}: {reason}")]
    Entry {
        /// Its place, counted from 0.
        index: usize,
        /// What is wrong.
        reason: String,
    },
    /// Two entries have one name.
    #[error("two entries are named `{0}`")]
    Twice(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    entries: Vec<One>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    entry_id: Option<String>,
    spiffe_id: String,
    parent_id: String,
    selectors: Vec<Found>,
    #[serde(default)]
    x509_svid_ttl: u64,
    #[serde(default)]
    jwt_svid_ttl: u64,
    #[serde(default)]
    federates_with: Vec<String>,
    #[serde(default)]
    dns_names: Vec<String>,
    #[serde(default)]
    hint: String,
    #[serde(default)]
    downstream: bool,
    /// Seconds since 1970.
    #[serde(default)]
    entry_expiry: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    #[serde(rename = "type")]
    kind: String,
    value: String,
}

impl Entries {
    /// Reads entries in the form that SPIRE's command for their creation takes: `{"entries": [{"spiffe_id", "parent_id",
    /// "selectors": [{"type", "value"}], …}]}`. An entry without `entry_id` is named by its content, and one that is there
    /// twice counts once. What changes gets another revision; the order of entries is their age and changes none.
    ///
    /// # Errors
    /// [`EntriesError`] with the entry. Unknown members are refused: a misspelt limit would otherwise not count.
    pub fn from_json(text: &[u8]) -> Result<Self, EntriesError> {
        let value = json::parse(text).map_err(|error| EntriesError::Form(error.to_string()))?;
        let file: File = serde_json::from_value(value).map_err(|error| EntriesError::Form(error.to_string()))?;
        let mut all = std::collections::BTreeMap::new();
        for (index, one) in file.entries.into_iter().enumerate() {
            let entry = read(one, index).map_err(|reason| EntriesError::Entry { index, reason })?;
            match all.entry(entry.id.clone()) {
                Slot::Vacant(slot) => {
                    slot.insert(entry);
                }
                Slot::Occupied(known) if known.get().revision == entry.revision => {}
                Slot::Occupied(known) => return Err(EntriesError::Twice(known.key().clone())),
            }
        }
        Ok(all.into_values().collect())
    }
}

fn read(one: One, index: usize) -> Result<Entry, String> {
    let life = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
    let spiffe_id = parse_spiffe_id(&one.spiffe_id).map_err(|error| format!("`spiffe_id`: {error}"))?;
    let parent_id = parse_spiffe_id(&one.parent_id).map_err(|error| format!("`parent_id`: {error}"))?;
    if spiffe_id.path().is_empty() || parent_id.path().is_empty() {
        return Err("a SPIFFE ID without a path names nobody".to_owned());
    }
    if one.selectors.is_empty() {
        return Err("without selectors it would be for everybody".to_owned());
    }
    if one.selectors.iter().any(|found| found.kind.is_empty() || found.value.is_empty()) {
        return Err("a selector is empty".to_owned());
    }
    let federates_with = one.federates_with.iter().map(|name| {
        let name = name.strip_prefix("spiffe://").unwrap_or(name);
        parse_trust_domain(name).map_err(|error| format!("`federates_with`: {error}"))
    });
    let federates_with = federates_with.collect::<Result<_, _>>()?;
    let selectors = one.selectors.iter().map(|found| Selector::new(&found.kind, &*found.value));
    let mut entry = Entry {
        x509_life: life(one.x509_svid_ttl),
        jwt_life: life(one.jwt_svid_ttl),
        federates_with,
        dns_names: one.dns_names,
        hint: one.hint,
        downstream: one.downstream,
        expires: life(one.entry_expiry).map(|since| SystemTime::UNIX_EPOCH + since),
        // Their order in the file is their age.
        created: SystemTime::UNIX_EPOCH + Duration::from_secs(1 + index as u64),
        ..Entry::new("", spiffe_id, parent_id, selectors)
    };
    let content = content(&entry).map_err(|error| error.to_string())?;
    let content = digest(&SHA256, &content);
    // The content is the revision: 63 bits of its digest.
    let revision = content.as_ref().iter().take(8).fold(0_i64, |all, byte| all << 8 | i64::from(*byte));
    entry.revision = revision & i64::MAX;
    entry.id = one.entry_id.unwrap_or_else(|| hex(&content.as_ref()[..16]));
    Ok(entry)
}

/// What an entry says, in one form only: a list, so that no order of members is left to chance. Neither name nor age is in it.
fn content(entry: &Entry) -> serde_json::Result<Vec<u8>> {
    let seconds = |life: Option<Duration>| life.map_or(0, |life| life.as_secs());
    let expires = entry.expires.and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok());
    serde_json::to_vec(&(
        entry.spiffe_id.to_string(),
        entry.parent_id.to_string(),
        entry.selectors.iter().map(|one| (&one.kind, &one.value)).collect::<Vec<_>>(),
        (seconds(entry.x509_life), seconds(entry.jwt_life), seconds(expires)),
        entry.federates_with.iter().map(ToString::to_string).collect::<Vec<_>>(),
        &entry.dns_names,
        &entry.hint,
        entry.downstream,
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn entries_of_a_file() {
        let text = r#"{"entries": [
            {"spiffe_id": "spiffe://td.test/web", "parent_id": "spiffe://td.test/node",
             "selectors": [{"type": "unix", "value": "uid:1"}], "x509_svid_ttl": 300,
             "federates_with": ["spiffe://other.test", "third.test"], "dns_names": ["web"]},
            {"entry_id": "db", "spiffe_id": "spiffe://td.test/db", "parent_id": "spiffe://td.test/node",
             "selectors": [{"type": "unix", "value": "uid:2"}]}
        ]}"#;
        let entries = Entries::from_json(text.as_bytes()).unwrap();
        let web = entries.of(&parse_spiffe_id("spiffe://td.test/web").unwrap()).unwrap();
        assert_eq!(web.x509_life, Some(Duration::from_secs(300)));
        assert_eq!(web.federates_with.len(), 2);
        assert!(web.revision > 0);
        let changed = Entries::from_json(text.replace("300", "301").as_bytes()).unwrap();
        let again = changed.of(&web.spiffe_id).unwrap();
        assert_ne!((&again.id, again.revision), (&web.id, web.revision));
        assert_eq!(changed.get("db"), entries.get("db"));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"entries": [], "more": 1}"#,
            r#"{"entries": [{"spiffe_id": "spiffe://td.test/web", "parent_id": "spiffe://td.test/n", "selectors": []}]}"#,
            r#"{"entries": [{"spiffe_id": "spiffe://td.test", "parent_id": "spiffe://td.test/n", "selectors": [{"type":"a","value":"b"}]}]}"#,
            r#"{"entries": [{"spiffe_id": "spiffe://td.test/web", "parent_id": "spiffe://td.test/n", "selectors": [{"type":"a","value":"b"}], "federates_with": ["spiffe://spiffe://x.test"]}]}"#,
            r#"{"entries": [{"spiffe_id": "web", "parent_id": "spiffe://td.test/n", "selectors": [{"type":"a","value":"b"}]}]}"#,
        ] {
            assert!(Entries::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    fn one(more: &str, path: &str) -> String {
        format!(
            r#"{{{more} "spiffe_id": "spiffe://td.test/{path}", "parent_id": "spiffe://td.test/n",
                "selectors": [{{"type": "a", "value": "b"}}]}}"#
        )
    }

    fn of(all: &[String]) -> Result<Entries, EntriesError> {
        Entries::from_json(format!(r#"{{"entries": [{}]}}"#, all.join(",")).as_bytes())
    }

    #[test]
    fn what_is_not_changed_keeps_its_name_and_revision() {
        let named = |entries: &Entries| {
            let all = entries.all().into_iter();
            all.map(|entry| (entry.spiffe_id.clone(), (entry.id.clone(), entry.revision))).collect::<BTreeMap<_, _>>()
        };
        let before = named(&of(&[one("", "a"), one("", "b"), one(r#""entry_id": "c","#, "c")]).unwrap());
        let after = named(&of(&[one("", "new"), one("", "b"), one("", "a"), one(r#""entry_id": "c","#, "c")]).unwrap());
        for (id, known) in &before {
            assert_eq!(after.get(id), Some(known), "{id}");
        }
        // Each member counts.
        let all: Vec<String> = [
            "",
            r#""x509_svid_ttl": 1,"#,
            r#""jwt_svid_ttl": 1,"#,
            r#""federates_with": ["x.test"],"#,
            r#""dns_names": ["x"],"#,
            r#""hint": "x","#,
            r#""downstream": true,"#,
            r#""entry_expiry": 1,"#,
        ]
        .map(|more| one(more, "a"))
        .to_vec();
        let revisions: BTreeSet<i64> = of(&all).unwrap().all().iter().map(|entry| entry.revision).collect();
        assert_eq!(revisions.len(), all.len());
    }

    #[test]
    fn the_same_twice() {
        assert_eq!(of(&[one("", "a"), one("", "b"), one("", "a")]).unwrap().all().len(), 2);
        let name = r#""entry_id": "x","#;
        assert_eq!(of(&[one(name, "a"), one(name, "b")]), Err(EntriesError::Twice("x".to_owned())));
    }
}
