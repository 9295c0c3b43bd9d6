//! All that is wrong with manifests, and all that is to be looked at: for the CI of a repository.

mod form;
mod sarif;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mesh_host::member::Error;

use self::form::Form;
use super::{Outcome, manifests, print};
use crate::admission::admit_by;
use crate::admission::judge::{Anything, Judge};
use crate::analyze::{Input, Suppression, Suppressions, analyze};
use crate::finding::{Code, Finding, Origin, Severity};
use crate::settings::Settings;
use crate::source::dir::SourceFile;
use crate::translate::{Place, translate};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The directories. Several are read as one.
    #[arg(required_unless_present = "codes")]
    directories: Vec<PathBuf>,
    /// Settings file (YAML) of the control plane that is to serve them: names of its place, and its admission policies.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of admission policies in Rego, beside those of the settings.
    #[cfg(feature = "rego")]
    #[arg(long, value_name = "DIR")]
    rego: Vec<PathBuf>,
    /// Directory of the manifests that are in force: what is otherwise, or is there no more, is judged as a change by the
    /// admission policies, as a source would.
    #[arg(long, value_name = "DIR", conflicts_with = "git")]
    before: Vec<PathBuf>,
    /// The same, of a revision of the directories' repository: origin/main.
    #[arg(long, value_name = "REVISION")]
    git: Option<String>,
    /// The form in which findings are shown.
    #[arg(short, long, default_value = "text")]
    output: Form,
    /// The least severity that makes the exit status 1.
    #[arg(long, value_name = "SEVERITY", default_value = "error")]
    fail_on: FailOn,
    /// Leave out findings of a code about objects: CODE=Kind namespace/name, where * stands for any text. May be repeated.
    #[arg(short = 'S', long, value_name = "CODE=OBJECT")]
    suppress: Vec<Suppression>,
    /// Print all codes and what they say.
    #[arg(long)]
    codes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// They could not be served.
    Error,
    /// There is anything to be warned of.
    Warning,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    if arguments.codes {
        for (code, text) in codes() {
            print(&format!("{}  {text}\n", code.0));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let files = read(&arguments.directories)?;
    let before = match &arguments.git {
        None => read(&arguments.before)?,
        Some(revision) => {
            let mut before = Vec::new();
            for directory in &arguments.directories {
                before.extend(placed(directory, manifests::at_revision(directory, revision)?));
            }
            before
        }
    };
    let settings: Option<Settings> = arguments.config.as_deref().map(mesh_host::settings::load).transpose()?;
    let place = match &settings {
        Some(settings) => settings.place()?,
        None => Settings::default_place()?,
    };
    let (findings, good) = findings(arguments, settings.as_ref(), &place, (&files, &before))?;
    print(&arguments.output.show(&findings, files.len()));
    let has_more_than_notes = findings.iter().any(|finding| finding.severity != Severity::Note);
    let fails = !good || (arguments.fail_on == FailOn::Warning && has_more_than_notes);
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The manifests of directories.
fn read(directories: &[PathBuf]) -> Result<Vec<SourceFile>, Error> {
    let mut files = Vec::new();
    for directory in directories {
        files.extend(placed(directory, manifests::read(directory)?));
    }
    Ok(files)
}

/// Files of a directory as whoever runs this finds them.
fn placed(directory: &Path, files: Vec<SourceFile>) -> impl Iterator<Item = SourceFile> {
    files.into_iter().map(|file| SourceFile { path: directory.join(&file.path), ..file })
}

/// All findings, and whether the files could be served.
fn findings(
    arguments: &Arguments,
    settings: Option<&Settings>,
    place: &Place,
    (files, before): (&[SourceFile], &[SourceFile]),
) -> Result<(Vec<Finding>, bool), Error> {
    let judge = judge(arguments, settings)?;
    let (judge, faults): (&dyn Judge, Vec<Finding>) = match &judge {
        Some(Ok(judge)) => (judge.as_ref(), Vec::new()),
        Some(Err(faults)) => (&Anything, faults.clone()),
        None => (&Anything, Vec::new()),
    };
    let usable = faults.iter().all(|fault| fault.severity != Severity::Error);
    let (mut findings, good) = match admit_by(judge, files, before) {
        Ok((world, mut findings)) => {
            let federation = settings.and_then(|settings| settings.federation.as_ref());
            let peers = federation.into_iter().flat_map(|federation| &federation.peers);
            let trust_domains: Vec<String> = peers.map(|peer| peer.trust_domain.clone()).collect();
            let translation = translate(&world, place);
            let input = Input { world: &world, place, translation: &translation, trust_domains: &trust_domains };
            findings.extend(analyze(&input));
            Suppressions::with(&world, &arguments.suppress).retain(&mut findings);
            (findings, true)
        }
        Err(findings) => (findings, false),
    };
    findings.extend(faults);
    findings.sort();
    Ok((findings, good && usable))
}

/// Policies, or what is wrong with them.
type Policies = Result<Box<dyn Judge>, Vec<Finding>>;

/// Who else has a say.
#[cfg(feature = "rego")]
fn judge(arguments: &Arguments, settings: Option<&Settings>) -> Result<Option<Policies>, Error> {
    use crate::admission::rego::{Admission, read_directory};

    let of_settings = settings.and_then(|settings| settings.admission.as_ref());
    let mut directories: Vec<PathBuf> = of_settings.and_then(|admission| admission.rego.clone()).into_iter().collect();
    if let Some(path) = of_settings.and_then(|admission| admission.path.as_ref()) {
        directories
            .extend(arguments.directories.iter().map(|directory| directory.join(path)).filter(|one| one.is_dir()));
    }
    directories.extend(arguments.rego.iter().cloned());
    if directories.is_empty() {
        return Ok(None);
    }
    let mut files = Vec::new();
    for directory in &directories {
        let read = read_directory(directory);
        files.extend(read.map_err(|error| format!("cannot read {}: {error}", directory.display()))?);
    }
    let admission = Admission::closed();
    Ok(Some(admission.take(&files).map(|_| -> Box<dyn Judge> { Box::new(admission) })))
}

/// Without the feature `rego`, nobody.
#[cfg(not(feature = "rego"))]
fn judge(_: &Arguments, settings: Option<&Settings>) -> Result<Option<Policies>, Error> {
    match settings.and_then(|settings| settings.admission.as_ref()) {
        Some(_) => {
            Err("the settings have a section `admission`, and this program was built without the feature `rego`".into())
        }
        None => Ok(None),
    }
}

/// All codes, in order.
fn codes() -> Vec<(Code, &'static str)> {
    let mut codes = Code::ALL.to_vec();
    codes.sort();
    codes
}

/// The path of a file as it is written in links.
fn link(origin: &Origin) -> String {
    let path: &Path = &origin.file;
    path.components()
        .filter_map(|part| match part {
            std::path::Component::CurDir => None,
            part => Some(part.as_os_str().to_string_lossy().into_owned()),
        })
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests;
