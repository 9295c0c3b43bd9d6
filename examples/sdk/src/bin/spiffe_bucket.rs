//! Trust bundles through a bucket: publishes them as a TUF repository, and reads them back as somebody who trusts its root and
//! nothing else.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for a terminal")]

use std::error::Error;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mesh_core::name::parse_trust_domain;
use mesh_identity::bucket::{
    AssumeRole, Bucket, Publisher, PublisherSettings, Reader, RepositoryKey, RepositoryRoot, RoleKeySet,
};
use mesh_identity::bundle::Bundle;
use mesh_identity::clock::{Clock, SystemClock};
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::local::LocalFileSystem;
use object_store::{ClientOptions, ObjectStore, StaticCredentialProvider};

/// Trust bundles through a bucket.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// A directory in the place of a bucket.
    #[arg(long, global = true)]
    directory: Option<PathBuf>,
    /// Name of an S3 bucket. Keys are taken from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    #[arg(long, global = true)]
    bucket: Option<String>,
    /// Its endpoint, where it is not AWS.
    #[arg(long, global = true)]
    endpoint: Option<String>,
    /// Its region.
    #[arg(long, global = true, default_value = "us-east-1")]
    region: String,
    /// A role to assume first, and the STS endpoint.
    #[arg(long, global = true, num_args = 2, value_names = ["ARN", "STS"])]
    assume: Vec<String>,
    /// Where in the bucket.
    #[arg(long, global = true, default_value = "fleet/default")]
    prefix: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the keys of a repository and its first root: `root.json` goes to the readers, the keys stay here.
    Keys {
        /// Where.
        keys: PathBuf,
    },
    /// Publishes bundles.
    Publish {
        /// Where the keys are.
        keys: PathBuf,
        /// Each a trust domain and the file of its SPIFFE document.
        #[arg(required = true, num_args = 2, value_names = ["DOMAIN", "FILE"])]
        bundles: Vec<String>,
    },
    /// Reads and verifies, and prints what is there.
    Read {
        /// The root that is trusted.
        root: PathBuf,
        /// Where to keep what was seen.
        state: PathBuf,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match &arguments.command {
        Command::Keys { keys } => {
            std::fs::create_dir_all(keys)?;
            let offline = RepositoryKey::generate()?;
            let online = RepositoryKey::generate()?;
            write_private(&keys.join("offline.key"), offline.to_pkcs8())?;
            write_private(&keys.join("online.key"), online.to_pkcs8())?;
            let of = |key: &RepositoryKey| RoleKeySet { keys: vec![key.clone()], threshold: 1 };
            let root = RepositoryRoot {
                root: of(&offline),
                targets: of(&online),
                snapshot: of(&online),
                timestamp: of(&online),
                life: Duration::from_secs(365 * 24 * 60 * 60),
            };
            std::fs::write(keys.join("root.json"), root.sign(NonZeroU64::MIN, None, clock.now()).await?)?;
        }
        Command::Publish { keys, bundles } => {
            let settings = PublisherSettings {
                root: std::fs::read(keys.join("root.json"))?,
                keys: vec![RepositoryKey::from_pkcs8(&std::fs::read(keys.join("online.key"))?)?],
                record: keys.join("last-version"),
                fresh_for: Duration::from_secs(24 * 60 * 60),
                listed_for: Duration::from_secs(7 * 24 * 60 * 60),
            };
            let mut all = Vec::new();
            for pair in bundles.chunks(2) {
                let [domain, file] = pair else { continue };
                all.push(Arc::new(Bundle::from_document(parse_trust_domain(domain)?, &std::fs::read(file)?)?.bundle));
            }
            let publisher = Publisher::new(open(&arguments.place, &clock)?, settings, clock)?;
            println!("version {}", publisher.publish(&all).await?.version);
        }
        Command::Read { root, state } => {
            let bucket = open(&arguments.place, &clock)?;
            let contents = Reader::new(bucket, std::fs::read(root)?, state, clock)?.read().await?;
            println!("version {}", contents.version);
            for bundle in contents.bundles {
                println!("{} {} authorities", bundle.trust_domain(), bundle.authorities().len());
            }
        }
    }
    Ok(())
}

fn open(place: &Place, clock: &Arc<dyn Clock>) -> Result<Bucket, Box<dyn Error>> {
    if let Some(directory) = &place.directory {
        std::fs::create_dir_all(directory)?;
        return Ok(Bucket::new(Arc::new(LocalFileSystem::new_with_prefix(directory)?), &place.prefix));
    }
    let name = place.bucket.as_deref().ok_or("a bucket or a directory is needed")?;
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(name).with_region(&place.region);
    if let Some(endpoint) = &place.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(true).with_virtual_hosted_style_request(false);
    }
    if let [role, sts] = place.assume.as_slice() {
        let base = AwsCredential {
            key_id: std::env::var("AWS_ACCESS_KEY_ID")?,
            secret_key: std::env::var("AWS_SECRET_ACCESS_KEY")?,
            token: std::env::var("AWS_SESSION_TOKEN").ok(),
        };
        let base = Arc::new(StaticCredentialProvider::new(base));
        let options = ClientOptions::new().with_allow_http(true);
        let assumed = AssumeRole::new(sts, &place.region, role, "spiffe-bucket", base, &options, Arc::clone(clock))?;
        builder = builder.with_credentials(Arc::new(assumed.life(Duration::from_secs(15 * 60))));
    }
    let store: Arc<dyn ObjectStore> = Arc::new(builder.build()?);
    Ok(Bucket::new(store, &place.prefix))
}

fn write_private(path: &Path, content: &[u8]) -> Result<(), mesh_identity::file::Error> {
    mesh_identity::file::replace(path, content, mesh_identity::file::Mode::Private)
}
