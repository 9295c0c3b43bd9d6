use std::process::ExitCode;

use serde_json::Value;

use super::Outcome;
use super::output::{Asked, Format, show};
use super::table::Table;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: Asked,
    /// One proxy only: its node id, the <name>.<namespace> in it, or its identity.
    #[arg(long, value_name = "NAME")]
    proxy: Option<String>,
    /// The form in which they are shown.
    #[arg(short, long, default_value = "table")]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let proxies = arguments.asked.get("/debug/syncz", &[("proxyID", arguments.proxy.as_deref())])?;
    show(arguments.output, &proxies, table);
    Ok(ExitCode::SUCCESS)
}

/// One row for each type that a proxy asks for.
fn table(proxies: &Value) -> Table {
    let headings =
        ["PROXY", "KIND", "CLIENT", "TYPE", "STATUS", "VERSION", "HELD", "BEHIND", "SINCE", "CONNECTED", "LAST NACK"];
    let mut table = Table::new(&headings, "No proxy is connected.");
    for proxy in proxies.as_array().into_iter().flatten() {
        let text = |key: &str| proxy[key].as_str().unwrap_or_default().to_owned();
        let name = text("proxy");
        let short = name.split('~').nth(2).unwrap_or(&name).to_owned();
        for (url, of_type) in proxy["types"].as_object().into_iter().flatten() {
            let number = |key: &str| of_type[key].as_u64().unwrap_or_default();
            let word = |key: &str| of_type[key].as_str().unwrap_or_default().to_owned();
            // A name that does not exist is not sent, and nobody is behind for it.
            let behind = number("not_answered") + number("rejected");
            let late = behind > 0 || word("sent") != word("acknowledged");
            table.row([
                short.clone(),
                text("kind"),
                text("client"),
                url.rsplit('.').next().unwrap_or_default().to_owned(),
                word("status"),
                word("version"),
                number("held").to_string(),
                behind.to_string(),
                if late { seconds(&proxy["behind_seconds"]) } else { String::new() },
                seconds(&proxy["connected_seconds"]),
                word("reason"),
            ]);
        }
    }
    table
}

/// A time as people say it.
fn seconds(value: &Value) -> String {
    match value.as_f64() {
        None => String::new(),
        Some(seconds) if seconds < 10.0 => format!("{seconds:.1}s"),
        Some(seconds) if seconds < 120.0 => format!("{seconds:.0}s"),
        Some(seconds) if seconds < 7_200.0 => format!("{:.0}m", seconds / 60.0),
        Some(seconds) if seconds < 172_800.0 => format!("{:.0}h", seconds / 3_600.0),
        Some(seconds) => format!("{:.0}d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_for_each_type_of_each_proxy() {
        let types = |status: &str, behind: u64, reason: Option<&str>| {
            json!({"type.googleapis.com/istio.workload.Address": {
                "status": status, "held": 3, "version": "00aa", "not_answered": behind, "not_sent": 1, "rejected": 0,
                "sent": "2", "acknowledged": if behind > 0 { "1" } else { "2" }, "reason": reason,
            }})
        };
        let proxies = json!([
            {"proxy": "ztunnel~10.0.0.1~zt-1.istio-system~x", "kind": "ztunnel", "client": "node-a", "connected_seconds": 90.2,
             "behind_seconds": 12.0, "types": types("STALE", 2, Some("bad\nnews"))},
            {"proxy": "plain", "kind": "other", "client": "node-b", "connected_seconds": 8_000.0, "behind_seconds": null,
             "types": types("SYNCED", 0, None)},
        ]);
        let text = table(&proxies).to_string();
        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(
            rows[1],
            ["zt-1.istio-system", "ztunnel", "node-a", "Address", "STALE", "00aa", "3", "2", "12s", "90s", "bad news"]
        );
        assert_eq!(rows[2], ["plain", "other", "node-b", "Address", "SYNCED", "00aa", "3", "0", "-", "2h", "-"]);
        assert_eq!(table(&json!([])).to_string(), "No proxy is connected.\n");
    }
}
