use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::in_force::{self, InForce};
use super::manifests::{Place, at_revision, mesh, read, world};
use super::output::{Asked, address};
use super::{Outcome, print};
use crate::preview::Mesh;
use crate::preview::diff::{Change, diff};

/// Exit status where there is something to tell, as that of `diff`; 1 is that it could not be told.
const EFFECTS: u8 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The manifests before and after the change; with --git or --address only those after it.
    #[arg(required = true, num_args = 1..=2, value_name = "DIRECTORY")]
    directories: Vec<PathBuf>,
    /// Compare with what the directory held at a revision of its git repository, such as origin/main.
    #[arg(long, value_name = "REVISION")]
    git: Option<String>,
    /// Compare with what a running control plane has in force: its admin endpoint, as host:port or http://host:port.
    #[arg(long, value_name = "ADDRESS", value_parser = address, conflicts_with = "git")]
    address: Option<SocketAddr>,
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
    let name = |directory: &PathBuf| directory.display().to_string();
    let mut notes = Vec::new();
    let (old, new) = match (arguments.directories.as_slice(), &arguments.git, arguments.address) {
        ([old, new], None, None) => (mesh(&read(old)?, &name(old), &place)?, mesh(&read(new)?, &name(new), &place)?),
        ([new], Some(revision), None) => {
            let before = at_revision(new, revision)?;
            let old_name = format!("{} at {revision}", new.display());
            (mesh(&before, &old_name, &place)?, mesh(&read(new)?, &name(new), &place)?)
        }
        ([new], None, Some(address)) => {
            let new = world(&read(new)?, &name(new))?;
            let InForce { world: old, secrets } = in_force::world(&Asked::at(address), &new)?;
            notes
                .extend(secrets.iter().map(|secret| format!("{secret} differs; contents of Secrets are not compared")));
            (Mesh::new(&old, &place), Mesh::new(&new, &place))
        }
        _ => return Err("give two directories, or one with --git or --address".into()),
    };
    let mut report = diff(&old, &new);
    report.notes.extend(notes);
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
