use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::name::parse_spiffe_id;
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{LocalSource, SvidSource};
use mesh_identity::{file, pem};
use serde_json::{Value, json};

use super::Outcome;
use super::output::{Format, show};
use super::table::Table;

/// Files of which an authority's directory has one. An empty one would get a new root, which nobody trusts.
const ROOTS: [&str; 3] = ["authority.json", "root-cert.pem", "ca.crt"];

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Directory of the authority, as `authority.dir` in the settings.
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    /// SPIFFE ID of the certificate. It must be of the authority's trust domain.
    #[arg(long, value_name = "ID")]
    spiffe_id: String,
    /// Its life in seconds: 24 hours at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    ttl: u64,
    /// DNS names beside the SPIFFE ID.
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// Where to write cert-chain.pem, key.pem and root-cert.pem.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// The form in which it is told what was written.
    #[arg(short, long, default_value = "table")]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { authority: directory, spiffe_id, ttl, dns, out, output } = arguments;
    let id = parse_spiffe_id(spiffe_id)?;
    if !ROOTS.iter().any(|name| directory.join(name).exists()) {
        return Err(format!("{}: there is no authority", directory.display()).into());
    }
    let mut rules = Rules::default();
    rules.min_life = rules.min_life.min(Duration::from_secs(*ttl));
    let authority = Authority::open(directory, id.trust_domain().clone(), rules, Arc::new(SystemClock))?;
    let names = Names { dns: dns.clone(), ips: Vec::new() };
    let source = LocalSource::new(Arc::new(authority), Duration::from_secs(*ttl), names);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let issued = runtime.block_on(source.fetch(&id))?;

    std::fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let write = |name: &str, text: &str, mode| -> Result<String, file::Error> {
        let path = out.join(name);
        file::replace(&path, text.as_bytes(), mode)?;
        Ok(path.display().to_string())
    };
    let chain = pem::encode_certificates(issued.svid.chain());
    let key = pem::encode("PRIVATE KEY", issued.svid.key().secret_der());
    let ends = issued.svid.not_after().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let written = json!({
        "spiffe_id": id.to_string(),
        "not_after": ends.as_secs(),
        "certificate_chain": write("cert-chain.pem", &chain, file::Mode::Public)?,
        "key": write("key.pem", &key, file::Mode::Private)?,
        "roots": write("root-cert.pem", &issued.bundle.to_pem(), file::Mode::Public)?,
    });
    show(*output, &written, table);
    Ok(ExitCode::SUCCESS)
}

/// A row for each file.
fn table(written: &Value) -> Table {
    let mut table = Table::new(&["FILE", "HOLDS"], "Nothing was written.");
    for (key, holds) in [
        ("certificate_chain", "the certificate, and those between it and the root"),
        ("key", "its private key"),
        ("roots", "the roots by which it is verified"),
    ] {
        table.row([written[key].as_str().unwrap_or_default().to_owned(), holds.to_owned()]);
    }
    table
}
