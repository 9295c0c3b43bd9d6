use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::manifests::{Place, mesh, read};
use super::output::Asked;
use super::{Outcome, print};
use crate::preview::{Answer, Question};

/// Exit status where it is refused.
const REFUSED: u8 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Who connects: namespace/name of a workload or service account, an address, a uid, or a SPIFFE ID. An address
    /// that is no workload's connects in plaintext.
    from: String,
    /// What is addressed: name, name.namespace or host of a service, with :port where it has several;
    /// namespace/name:port of a workload; address:port; or a URL.
    to: String,
    /// Ask a directory of manifests, and not a control plane.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
    /// Method of the request. Default: GET
    #[arg(long)]
    method: Option<String>,
    /// Path of the request, with its query. Default: /
    #[arg(long)]
    path: Option<String>,
    /// Host of the request. Default: what is addressed
    #[arg(long)]
    host: Option<String>,
    /// A header of the request, as `name: value`; several times for several.
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The form of the answer.
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
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let Arguments { from, to, dir, asked, method, path, host, headers, output, place } = arguments;
    let question = Question { from, to, method, path, host, headers };
    let (text, answer) = match &dir {
        Some(directory) => {
            let mesh = mesh(&read(directory)?, &directory.display().to_string(), &place.read()?)?;
            let answer: Answer = mesh.explain(&question).map_err(|error| error.to_string())?;
            (answer.to_string(), serde_json::to_value(&answer)?)
        }
        None => {
            let parameters = question.parameters();
            let parameters: Vec<(&str, Option<&str>)> =
                parameters.iter().map(|(name, value)| (*name, value.as_deref())).collect();
            let mut page = asked.get("/explain", &parameters)?;
            let text = page["text"].as_str().unwrap_or_default().to_owned();
            (text, page["answer"].take())
        }
    };
    match output {
        Form::Text => print(&text),
        Form::Json => print(&format!("{}\n", serde_json::to_string_pretty(&answer)?)),
    }
    let is_refused = answer.get("access").and_then(Value::as_str) == Some("refused");
    Ok(if is_refused { REFUSED.into() } else { ExitCode::SUCCESS })
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
