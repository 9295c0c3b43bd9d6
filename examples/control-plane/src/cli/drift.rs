//! By what regions differ from a repository, and from each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use mesh_host::member::Error;
use serde_json::{Value, json};

use super::in_force;
use super::output::{Asked, Format, address as address_of};
use super::table::Table;
use super::{Outcome, print};
use crate::admission::{admit, content};
use crate::drift::{Drift, Snapshot, compare, unified, yaml};
use crate::finding::Severity;
use crate::inventory;
use crate::resource::Kind;
use crate::source::dir::{self, SourceFile};
use crate::world::World;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Directory of the manifests that all regions are to run. Without it, the first region is what the others are compared
    /// with.
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
    /// A region and the admin endpoint of its control plane. May be repeated.
    #[arg(long = "region", value_name = "NAME=ADDRESS", required = true)]
    regions: Vec<Region>,
    /// Leave out by what objects differ.
    #[arg(long)]
    short: bool,
    /// The form in which it is shown.
    #[arg(short, long, default_value = "table")]
    output: Format,
}

/// A region, as it is given.
#[derive(Debug, Clone)]
struct Region {
    name: String,
    address: SocketAddr,
}

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, address) =
            text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("it is no NAME=ADDRESS")?;
        Ok(Self { name: name.to_owned(), address: address_of(address)? })
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let repository = arguments.repository.as_deref().map(Repository::read).transpose()?;
    let answers: Vec<Answer> = arguments.regions.iter().map(ask).collect();
    let wanted = match (&repository, answers.first()) {
        (Some(repository), _) => Snapshot::of(&repository.world),
        (None, Some(Ok((_, first)))) => first.clone(),
        (None, Some(Err(reason))) => return Err(reason.clone().into()),
        (None, None) => Snapshot::default(),
    };
    let compared: Vec<Compared<'_>> = arguments
        .regions
        .iter()
        .zip(&answers)
        .map(|(region, answer)| {
            let drift = answer.as_ref().ok().map(|(_, found)| compare(&wanted, found));
            Compared { region, answer, drift }
        })
        .collect();
    let differs = compared.iter().any(|one| one.drift.as_ref().is_none_or(|drift| !drift.is_empty()));
    let mut diffs = Vec::new();
    for one in compared.iter().filter(|_| !arguments.short) {
        for object in one.drift.iter().flat_map(|drift| &drift.different) {
            let (name, old) = match (&repository, arguments.regions.first()) {
                (Some(repository), _) => ("repository", repository.content(object)),
                (None, Some(first)) => (first.name.as_str(), content_at(first, object)),
                (None, None) => continue,
            };
            let new = content_at(one.region, object);
            let shown = diff((name, &wanted, old), (&one.region.name, one.answer, new), object);
            diffs.push((one.region.name.as_str(), object.as_str(), shown));
        }
    }
    match arguments.output {
        Format::Json => {
            let diff = |(region, object, text): &(&str, &str, String)| json!({"region": region, "object": object, "diff": text});
            let report = json!({
                "wanted": {"revision": wanted.digest(), "objects": wanted.objects.len()},
                "differs": differs,
                "regions": compared.iter().map(Compared::to_json).collect::<Vec<_>>(),
                "diffs": diffs.iter().map(diff).collect::<Vec<_>>(),
            });
            print(&format!("{report:#}\n"));
        }
        Format::Table => {
            print(&table(repository.as_ref().map(|_| &wanted), &compared).to_string());
            for one in &compared {
                let lists = one.drift.iter().flat_map(|drift| [("missing", &drift.missing), ("extra", &drift.extra)]);
                for (what, object) in lists.flat_map(|(what, list)| list.iter().map(move |object| (what, object))) {
                    print(&format!("{}: {what} {object}\n", one.region.name));
                }
            }
            diffs.iter().for_each(|(_, _, text)| print(text));
            if let Some(skew) = skew(&compared) {
                print(&skew);
            }
        }
    }
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is compared with.
struct Repository {
    files: BTreeMap<PathBuf, SourceFile>,
    world: World,
}

impl Repository {
    fn read(directory: &Path) -> Result<Self, Error> {
        let files = dir::read(directory).map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
        let (world, _) = admit(&files).map_err(|findings| {
            let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
            format!("{}: {errors} errors; `control-plane check` tells more", directory.display())
        })?;
        let files = files.into_iter().map(|file| (file.path.clone(), file)).collect();
        Ok(Self { files, world })
    }

    fn content(&self, object: &str) -> Option<Value> {
        let item = inventory::items(&self.world).find(|item| item.id.to_string() == object)?;
        if item.id.kind == Kind::Secret {
            return None;
        }
        content(self.files.get(&*item.origin.file)?, &item.id, item.digest)
    }
}

/// What a region answered, as it did and as it is read; or why not.
type Answer = Result<(Value, Snapshot), String>;

/// A region beside what is wanted.
struct Compared<'a> {
    region: &'a Region,
    answer: &'a Answer,
    /// None when it did not answer.
    drift: Option<Drift>,
}

impl Compared<'_> {
    fn to_json(&self) -> Value {
        let name = &self.region.name;
        match self.answer {
            Ok((page, found)) => json!({
                "region": name,
                "revision": page["revision"],
                "age_seconds": page["age_seconds"],
                "refused_by": page["refused_by"],
                "version": page["version"],
                "objects": found.objects.len(),
                "drift": self.drift,
            }),
            Err(reason) => json!({"region": name, "error": reason}),
        }
    }
}

fn ask(region: &Region) -> Answer {
    in_force::snapshot(&Asked::at(region.address)).map_err(|error| error.to_string())
}

/// An object as a region has it; none if it cannot say.
fn content_at(region: &Region, object: &str) -> Option<Value> {
    in_force::content(&Asked::at(region.address), object)
}

/// By what an object differs; where its content is not to be had, where it stands.
fn diff(
    (old_name, wanted, old): (&str, &Snapshot, Option<Value>),
    (new_name, answer, new): (&str, &Answer, Option<Value>),
    object: &str,
) -> String {
    if let (Some(old), Some(new)) = (old, new) {
        let text =
            unified(&format!("{old_name}: {object}"), &yaml(&old), &format!("{new_name}: {object}"), &yaml(&new));
        return match text.is_empty() {
            true => format!("{new_name}: {object} is written otherwise, and says the same\n"),
            false => text,
        };
    }
    let place = |snapshot: &Snapshot| snapshot.objects.get(object).map(|entry| entry.place.clone()).unwrap_or_default();
    let there = answer.as_ref().map(|(_, found)| place(found)).unwrap_or_default();
    format!(
        "{new_name}: {object} differs; the content is not shown ({old_name}: {}, {new_name}: {there})\n",
        place(wanted)
    )
}

fn table(repository: Option<&Snapshot>, compared: &[Compared<'_>]) -> Table {
    let headings = ["REGION", "VERSION", "REVISION", "AGE", "OBJECTS", "MISSING", "EXTRA", "DIFFERENT", "STATE"];
    let mut table = Table::new(&headings, "There is no region.");
    if let Some(wanted) = repository {
        let cells = [
            "(repository)".to_owned(),
            String::new(),
            short(&wanted.digest()),
            String::new(),
            wanted.objects.len().to_string(),
        ];
        table.row(cells);
    }
    for Compared { region, answer, drift } in compared {
        let (page, found) = match answer {
            Ok(answer) => answer,
            Err(reason) => {
                let unknown = std::iter::repeat_n(String::new(), 7);
                table.row(std::iter::once(region.name.clone()).chain(unknown).chain([reason.clone()]));
                continue;
            }
        };
        let drift = drift.clone().unwrap_or_default();
        let state = match page["refused_by"].as_u64() {
            Some(0) | None if drift.is_empty() => "as wanted".to_owned(),
            Some(0) | None => "differs".to_owned(),
            Some(errors) => format!("holds back something newer: {errors} errors"),
        };
        table.row([
            region.name.clone(),
            version(page).to_owned(),
            short(page["revision"].as_str().unwrap_or_default()),
            page["age_seconds"].as_u64().map(|seconds| format!("{seconds}s")).unwrap_or_default(),
            found.objects.len().to_string(),
            drift.missing.len().to_string(),
            drift.extra.len().to_string(),
            drift.different.len().to_string(),
            state,
        ]);
    }
    table
}

/// That control planes are of several versions: what they make of the same objects may differ.
fn skew(compared: &[Compared<'_>]) -> Option<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in compared {
        if let Ok((page, _)) = one.answer {
            versions.entry(version(page)).or_default().push(&one.region.name);
        }
    }
    let told: Vec<String> =
        versions.iter().map(|(version, regions)| format!("{version} in {}", regions.join(", "))).collect();
    (told.len() > 1).then(|| {
        format!(
            "control planes are of several versions, and may make another thing of the same objects: {}\n",
            told.join("; ")
        )
    })
}

/// The version of a control plane; the first ones do not say theirs.
fn version(page: &Value) -> &str {
    page["version"].as_str().unwrap_or("unknown")
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_differ_are_told() {
        let region = |name: &str| format!("{name}=127.0.0.1:1").parse::<Region>().unwrap();
        let regions = ["east", "west", "north"].map(region);
        let told = |versions: [Value; 3]| {
            let answers = versions.map(|version| Ok((json!({"version": version}), Snapshot::default())));
            let compared: Vec<_> =
                regions.iter().zip(&answers).map(|(region, answer)| Compared { region, answer, drift: None }).collect();
            skew(&compared)
        };
        assert_eq!(told(["1.0.0".into(), "1.0.0".into(), "1.0.0".into()]), None);
        let several = told(["1.0.0".into(), "1.1.0".into(), Value::Null]).unwrap();
        assert!(several.ends_with(": 1.0.0 in east; 1.1.0 in west; unknown in north\n"), "{several}");
    }
}
