//! Settings of sources.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::attach::Controller;

/// Where resources are read: a list, in which earlier sources take precedence, or a single directory.
#[derive(Debug, Clone)]
pub struct Sources(pub Vec<Entry>);

impl Sources {
    /// Who we are among controllers of Gateways: by the name by which the statuses of the first source are written that has
    /// one, else by Istio's.
    #[must_use]
    pub fn controller(&self) -> Controller {
        #[cfg(feature = "kubernetes")]
        let name = self.0.iter().find_map(|entry| Some(&entry.kubernetes.as_ref()?.status.as_ref()?.controller));
        #[cfg(not(feature = "kubernetes"))]
        let name: Option<&String> = None;
        name.map_or_else(Controller::default, |name| Controller::new(name.as_str()))
    }
}

/// One source. Exactly one of `directory`, `git` and `kubernetes` is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The name that it has in findings, metrics, URLs of webhooks and on disk: small letters, digits and hyphens. Default:
    /// its type.
    #[serde(default)]
    pub name: Option<String>,
    /// A directory of YAML files, read with all its subdirectories.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Milliseconds between two looks at a directory. Default: 300.
    #[serde(default = "poll_interval_ms")]
    pub poll_interval_ms: u64,
    /// What of a directory stays as it was while a file in it is bad. Default: that file.
    #[serde(default)]
    pub on_error: OnError,
    /// A repository of git.
    #[serde(default)]
    pub git: Option<Git>,
    /// The API server of a Kubernetes cluster.
    #[cfg(feature = "kubernetes")]
    #[serde(default)]
    pub kubernetes: Option<super::kubernetes::Settings>,
    /// Whether nothing is served before this source has said something once. Default: yes.
    #[serde(default = "yes")]
    pub required: bool,
    /// Whether it alone has the say about objects of the kinds that it has objects of. Default: no.
    #[serde(default)]
    pub authoritative: bool,
    /// What becomes of what other sources say against it, or beside it, if it is authoritative. Default: it is flagged.
    #[serde(default)]
    pub divergence: Divergence,
}

/// What stays as it was while a file is bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The file, with all the objects that it had when it was good last.
    #[default]
    File,
    /// The whole source.
    Source,
}

/// What becomes of objects that an authoritative source says otherwise, or not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Divergence {
    /// A finding names them. Which counts follows from the order of the sources.
    #[default]
    Flag,
    /// A finding names them, and they do not count.
    Refuse,
}

/// A repository of git that is looked at again and again. One of `branch`, `tag` and `commit` says what of it counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// Where it is: `https://host/path`, `ssh://user@host/path`, `user@host:path` or `file:///path`. The final address:
    /// redirects are not followed.
    pub url: String,
    /// The branch that counts.
    #[serde(default)]
    pub branch: Option<String>,
    /// The tag that counts.
    #[serde(default)]
    pub tag: Option<String>,
    /// The commit that counts, by its whole hash.
    #[serde(default)]
    pub commit: Option<String>,
    /// The directory of the repository that is read, with all its subdirectories. Default: all.
    #[serde(default)]
    pub path: String,
    /// Seconds between two looks. A webhook makes one earlier. Default: 60.
    #[serde(default = "interval_seconds")]
    pub interval_seconds: u64,
    /// Seconds that one command of git may take. Default: 60.
    #[serde(default = "time_limit_seconds")]
    pub time_limit_seconds: u64,
    /// Most bytes that one fetch may bring, and that the files may have together. Default: 256 MiB.
    #[serde(default = "max_bytes")]
    pub max_bytes: u64,
    /// Most files that are read. Default: 20,000.
    #[serde(default = "max_files")]
    pub max_files: u64,
    /// Whether the URL may be `http://` or `git://`. What comes so may be anybody's, unless it is `signed`. Default: no.
    #[serde(default)]
    pub plaintext: bool,
    /// File of the token that is sent over https.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// The user name that is sent with the token. Default: `git`, which most servers take.
    #[serde(default = "username")]
    pub username: String,
    /// File of the roots (PEM) that may sign for the host. Default: those of the machine.
    #[serde(default)]
    pub roots: Option<PathBuf>,
    /// File of the private key for ssh.
    #[serde(default)]
    pub ssh_key: Option<PathBuf>,
    /// File of the host keys for ssh, in the form of `known_hosts`. Nothing else is believed.
    #[serde(default)]
    pub known_hosts: Option<PathBuf>,
    /// Whose commits are taken. Default: everybody's who can write to the branch.
    #[serde(default)]
    pub signed: Option<Signed>,
    /// What becomes of a commit that does not continue the one in force. Default: it is taken, with a warning.
    #[serde(default)]
    pub rewrites: Rewrites,
    /// File of the secret of the webhook `/hooks/git/<name of the source>`. Default: there is none.
    #[serde(default)]
    pub webhook_secret_file: Option<PathBuf>,
    /// The program. Default: `git`, 2.34 or later.
    #[serde(default = "program")]
    pub program: PathBuf,
}

/// Whose commits are taken. One of `allowed_signers` and `keyring` is given; both are read anew for every commit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// File of the SSH keys that may sign, in the form of `ssh-keygen`'s ALLOWED SIGNERS.
    #[serde(default)]
    pub allowed_signers: Option<PathBuf>,
    /// File of SSH keys that may not sign any more: keys, one per line, or a key revocation list.
    #[serde(default)]
    pub revoked_keys: Option<PathBuf>,
    /// A home directory of GnuPG with the public keys that may sign, and no others.
    #[serde(default)]
    pub keyring: Option<PathBuf>,
}

/// What becomes of a commit that does not continue the one in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rewrites {
    /// It is taken, with a warning.
    #[default]
    Accept,
    /// It is refused until the branch continues what is in force, or the setting is changed.
    Refuse,
}

fn interval_seconds() -> u64 {
    60
}

fn time_limit_seconds() -> u64 {
    60
}

fn max_bytes() -> u64 {
    256 * 1024 * 1024
}

fn max_files() -> u64 {
    20_000
}

fn username() -> String {
    "git".to_owned()
}

fn program() -> PathBuf {
    PathBuf::from("git")
}

fn poll_interval_ms() -> u64 {
    300
}

fn yes() -> bool {
    true
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Form)
    }
}

/// A list, or one source by itself.
struct Form;

impl<'de> Visitor<'de> for Form {
    type Value = Sources;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sources, or one")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Sources, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(sequence)).map(Sources)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Sources, A::Error> {
        Entry::deserialize(MapAccessDeserializer::new(map)).map(|entry| Sources(vec![entry]))
    }
}
