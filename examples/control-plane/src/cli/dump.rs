use std::process::ExitCode;

use serde_json::Value;

use super::Outcome;
use super::output::{Asked, Format, show};
use super::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: Asked,
    /// One type only: a type URL or its last part, such as Address, Authorization, Cluster, Listener.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Resources only whose names contain this.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What this proxy is served, and what it holds of it: its node id, the <name>.<namespace> in it, or its identity. Without
    /// it, what all node proxies are served.
    #[arg(long, value_name = "NAME")]
    proxy: Option<String>,
    /// The form in which they are shown. Contents are in JSON only.
    #[arg(short, long, default_value = "json")]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { asked, kind, name, proxy, output } = arguments;
    let path = if proxy.is_some() { "/debug/config_dump" } else { "/debug/resources" };
    let parameters = [("type", kind.as_deref()), ("name", name.as_deref()), ("proxyID", proxy.as_deref())];
    show(*output, &asked.get(path, &parameters)?, table);
    Ok(ExitCode::SUCCESS)
}

fn table(dump: &Value) -> Table {
    let mut table = Table::new(&["TYPE", "NAME", "VERSION", "STANDING", "HELD"], "There is no such resource.");
    let resources = dump.as_array().or_else(|| dump["resources"].as_array());
    for resource in resources.into_iter().flatten() {
        let text = |key: &str| resource[key].as_str().unwrap_or_default().to_owned();
        let kind = text("type").rsplit('.').next().unwrap_or_default().to_owned();
        table.row([kind, text("name"), text("version"), text("standing"), text("accepted")]);
    }
    table
}
