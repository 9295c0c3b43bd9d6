use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::parse_spiffe_id;
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{LocalSource, SvidSource};
use mesh_identity::{file, pem};

use super::{Outcome, print};

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
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { authority: directory, spiffe_id, ttl, dns, out } = arguments;
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
    let write = |name: &str, text: &str, mode| -> Result<(), file::Error> {
        let path: &Path = &out.join(name);
        file::replace(path, text.as_bytes(), mode)?;
        print(&format!("{}\n", path.display()));
        Ok(())
    };
    write("cert-chain.pem", &pem::encode_certificates(issued.svid.chain()), file::Mode::Public)?;
    write("key.pem", &pem::encode("PRIVATE KEY", issued.svid.key().secret_der()), file::Mode::Private)?;
    write("root-cert.pem", &issued.bundle.to_pem(), file::Mode::Public)?;
    Ok(ExitCode::SUCCESS)
}
