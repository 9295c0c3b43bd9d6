//! Last-known-good state on disk, so that a restart needs no server.
//!
//! One file: a magic text with the format's version, a checksum, then one protobuf message with the resources as they were
//! received, so that a newer release reads fields that this one does not know. Written beside, synced and renamed; the file
//! before is kept as `.1`. A file that is torn, foreign or of another node is passed over with a warning.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use prost::Message;
use twox_hash::XxHash3_64;

/// Begin of every file of this format.
const MAGIC: &[u8; 12] = b"mesh-xds v1\n";

/// A state as it is kept.
#[derive(Clone, PartialEq, Message)]
pub struct Snapshot {
    /// Id of the node that it belongs to.
    #[prost(string, tag = "1")]
    pub node: String,
    /// When it was written, in milliseconds since 1970.
    #[prost(uint64, tag = "2")]
    pub written_ms: u64,
    /// The resources of each type.
    #[prost(message, repeated, tag = "3")]
    pub types: Vec<TypeSnapshot>,
    /// Names of the servers that the resources came from.
    #[prost(string, repeated, tag = "4")]
    pub servers: Vec<String>,
}

/// The resources of one type.
#[derive(Clone, PartialEq, Message)]
pub struct TypeSnapshot {
    /// The type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// Its resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Entry>,
}

/// One resource.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The version under which the server sent it.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Its bytes as received.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: bytes::Bytes,
    /// The server that sent it, by its place in [`Snapshot::servers`].
    #[prost(uint32, tag = "4")]
    pub server: u32,
    /// When its time to live ends, in milliseconds since 1970; 0: never.
    #[prost(uint64, tag = "5")]
    pub expires_ms: u64,
}

impl Snapshot {
    /// When it was written.
    #[must_use]
    pub fn written_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.written_ms)
    }

    /// The server that a resource came from, by its place in a list of servers by name; `None` when it is not one of them.
    pub fn server_of<'a>(&self, entry: &Entry, mut servers: impl Iterator<Item = &'a str>) -> Option<usize> {
        let index = usize::try_from(entry.server).ok()?;
        let name = match self.servers.get(index) {
            Some(name) => name.as_str(),
            // Files of earlier releases name no server.
            None if self.servers.is_empty() => "",
            None => return None,
        };
        servers.position(|server| server == name)
    }
}

impl Entry {
    /// How long it may still be used: `None` for ever, zero when its time is over.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        let expires = (self.expires_ms > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(self.expires_ms))?;
        Some(expires.duration_since(now).unwrap_or_default())
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system failed.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is of another format, or of a later version of it.
    #[error("{} is not of this format", .0.display())]
    Foreign(PathBuf),
    /// The file was torn or altered.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
    /// The file belongs to another node.
    #[error("{} belongs to node `{found}`", path.display())]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
    },
}

/// Loads the state of a node: the newest file that is whole, or `None` when there is none.
#[must_use]
pub fn load(path: &Path, node: &str) -> Option<Snapshot> {
    [path.to_owned(), previous(path)].iter().find_map(|path| match read(path, node) {
        Ok(snapshot) => Some(snapshot),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(%error, "state on disk is not used");
            None
        }
    })
}

/// Reads one file.
///
/// # Errors
/// [`Error`], naming the file.
pub fn read(path: &Path, node: &str) -> Result<Snapshot, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Io { verb: "read", path: path.to_owned(), source })?;
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| Error::Foreign(path.to_owned()))?;
    let damaged = || Error::Damaged(path.to_owned());
    let (checksum, body) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
    if u64::from_be_bytes(*checksum) != XxHash3_64::oneshot(body) {
        return Err(damaged());
    }
    let snapshot = Snapshot::decode(body).map_err(|_| damaged())?;
    if snapshot.node != node {
        return Err(Error::OtherNode { path: path.to_owned(), found: snapshot.node });
    }
    Ok(snapshot)
}

/// Replaces the file. After a crash at any moment the old or the new state is there, whole.
///
/// # Errors
/// [`Error::Io`]; what was there before still is, at least under its `.1` name.
pub fn write(path: &Path, snapshot: &Snapshot) -> Result<(), Error> {
    let body = snapshot.encode_to_vec();
    let scratch = with_suffix(path, ".new");
    let written = (|| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&scratch)?;
        file.write_all(MAGIC)?;
        file.write_all(&XxHash3_64::oneshot(&body).to_be_bytes())?;
        file.write_all(&body)?;
        file.sync_all()?;
        match fs::rename(path, previous(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(&scratch, path)?;
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    })();
    written.map_err(|source| Error::Io { verb: "write", path: path.to_owned(), source })
}

fn previous(path: &Path) -> PathBuf {
    with_suffix(path, ".1")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(node: &str, version: &str) -> Snapshot {
        let body = bytes::Bytes::from_static(b"body");
        let entry = Entry { name: "a".into(), version: version.into(), body, ..Entry::default() };
        let types = vec![TypeSnapshot { type_url: "t".into(), resources: vec![entry] }];
        Snapshot { node: node.into(), written_ms: 1_700_000_000_123, types, servers: vec!["s".into()] }
    }

    #[test]
    fn survives_a_tear_at_every_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert_eq!(load(&path, "n"), None);
        write(&path, &snapshot("n", "1")).unwrap();
        write(&path, &snapshot("n", "2")).unwrap();
        assert_eq!(load(&path, "n"), Some(snapshot("n", "2")));

        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(load(&path, "n"), Some(snapshot("n", "1")), "torn at {length}");
        }
        for index in 0..whole.len() {
            let mut altered = whole.clone();
            altered[index] ^= 0x20;
            fs::write(&path, &altered).unwrap();
            assert_eq!(load(&path, "n"), Some(snapshot("n", "1")), "altered at {index}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(load(&path, "n"), Some(snapshot("n", "1")), "a crash between the two renames");
    }

    #[test]
    fn a_resource_is_from_a_server_that_is_still_one() {
        let of = |servers: &[&str], server| {
            let known = snapshot("n", "1");
            let servers = Snapshot { servers: servers.iter().map(|name| (*name).to_owned()).collect(), ..known };
            let entry = Entry { server, ..Entry::default() };
            servers.server_of(&entry, ["", "two", "one"].into_iter())
        };
        assert_eq!((of(&["one", "two"], 0), of(&["one", "two"], 1)), (Some(2), Some(1)));
        assert_eq!((of(&["gone"], 0), of(&["one"], u32::MAX)), (None, None));
        assert_eq!(of(&[], 0), Some(0), "earlier releases knew one server, and no name");
    }

    #[test]
    fn is_private_and_of_one_node() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        write(&path, &snapshot("n", "1")).unwrap();
        assert!(matches!(read(&path, "other"), Err(Error::OtherNode { found, .. }) if found == "n"));
        assert_eq!(load(&path, "other"), None);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
