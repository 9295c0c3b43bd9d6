use std::path::PathBuf;
use std::process::ExitCode;

use super::manifests::{Place, at_revision, mesh, read};
use super::{Outcome, print};
use crate::preview::diff::{Change, diff};

/// Exit status where there is something to tell, as that of `diff`; 1 is that it could not be told.
const EFFECTS: u8 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The manifests before and after the change; with --git only those after it.
    #[arg(required = true, num_args = 1..=2, value_name = "DIRECTORY")]
    directories: Vec<PathBuf>,
    /// Compare with what the directory held at a revision of its git repository, such as origin/main.
    #[arg(long, value_name = "REVISION")]
    git: Option<String>,
    /// Effects for which the exit status is 2. Default: any
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    fail_on: Vec<Kind>,
    /// The form of the report.
    #[arg(short, long, default_value = "text")]
    output: Form,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Lines for people.
    Text,
    /// JSON for machines.
    Json,
    /// Markdown, for a pull request.
    Markdown,
}

/// A kind of effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Access that is opened.
    Opened,
    /// Access that is lost.
    Lost,
    /// Traffic that moves.
    Moved,
    /// Anything else.
    Other,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let place = arguments.place.read()?;
    let (old, new) = match (arguments.directories.as_slice(), &arguments.git) {
        ([old, new], None) => (
            mesh(&read(old)?, &old.display().to_string(), &place)?,
            mesh(&read(new)?, &new.display().to_string(), &place)?,
        ),
        ([new], Some(revision)) => {
            let before = at_revision(new, revision)?;
            let name = format!("{} at {revision}", new.display());
            (mesh(&before, &name, &place)?, mesh(&read(new)?, &new.display().to_string(), &place)?)
        }
        _ => return Err("two directories are compared, or one with --git".into()),
    };
    let report = diff(&old, &new);
    match arguments.output {
        Form::Text => print(&report.to_string()),
        Form::Json => print(&format!("{}\n", serde_json::to_string_pretty(&report)?)),
        Form::Markdown => print(&report.markdown()),
    }
    let fail_on = &arguments.fail_on;
    let counts = |change: Change| fail_on.is_empty() || fail_on.iter().any(|kind| kind.change() == change);
    let is_told = report.effects.iter().any(|effect| counts(effect.change));
    Ok(if is_told { EFFECTS.into() } else { ExitCode::SUCCESS })
}

impl Kind {
    fn change(self) -> Change {
        match self {
            Self::Opened => Change::Opened,
            Self::Lost => Change::Lost,
            Self::Moved => Change::Moved,
            Self::Other => Change::Other,
        }
    }
}
