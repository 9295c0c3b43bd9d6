use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mesh_identity::file::{self, Mode};
use serde::{Deserialize, Serialize};

use super::files::{Digest, digest_of, hex};
use crate::admission::SourceFile;

/// The name of the list of files.
const LIST: &str = "files.json";

/// The last good state of a source on disk: a list of files, which is replaced at once, and their texts by digest.
#[derive(Debug)]
pub(super) struct Kept {
    directory: PathBuf,
    /// Texts that are on disk.
    texts: HashSet<Digest>,
}

/// What was kept before a restart.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) revision: String,
    pub(super) saved: SystemTime,
    pub(super) files: Vec<SourceFile>,
}

/// The text of a file of a last good state; `None` if there is none that can be read.
pub(super) fn text_of(directory: &Path, file: &Path) -> Option<String> {
    let list: List = serde_json::from_slice(&file::read(&directory.join(LIST)).ok()?).ok()?;
    let entry = list.files.into_iter().find(|entry| entry.path == file)?;
    entry.text(directory).ok()
}

/// The last good state could not be kept or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("{} is not what was written there", path.display())]
    Ruined { path: PathBuf },
    #[error("the text of {} was not kept", path.display())]
    Missing { path: PathBuf },
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    revision: String,
    /// Seconds since 1970.
    saved: u64,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    sha256: String,
}

impl Entry {
    /// The text, if it is what was written.
    fn text(&self, directory: &Path) -> Result<String, Error> {
        // A path of ours, whatever the list says.
        let is_digest = self.sha256.len() == 64 && self.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let place = directory.join(if is_digest { self.sha256.as_str() } else { LIST });
        let ruined = || Error::Ruined { path: place.clone() };
        let text = String::from_utf8(file::read(&place)?).map_err(|_| ruined())?;
        if hex(&digest_of(&text)) == self.sha256 { Ok(text) } else { Err(ruined()) }
    }
}

impl Kept {
    /// Nothing is kept yet, or what is there is to be overwritten.
    ///
    /// # Errors
    /// [`Error`]: there is no such place.
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        file::private_directory(directory)?;
        Ok(Self { directory: directory.to_owned(), texts: HashSet::new() })
    }

    /// What was kept last, if anything.
    ///
    /// # Errors
    /// [`Error`]: it cannot be read, or is not what was written.
    pub(super) fn restore(&mut self) -> Result<Option<Restored>, Error> {
        let path = self.directory.join(LIST);
        let list = match file::read(&path) {
            Err(error) if error.is_not_found() => return Ok(None),
            list => list?,
        };
        let list: List = serde_json::from_slice(&list).map_err(|_| Error::Ruined { path: path.clone() })?;
        let mut files = Vec::with_capacity(list.files.len());
        let mut texts = HashSet::new();
        for entry in list.files {
            let text = entry.text(&self.directory)?;
            texts.insert(digest_of(&text));
            files.push(SourceFile { path: entry.path, text: Ok(text) });
        }
        self.texts = texts;
        let saved = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(list.saved));
        Ok(Some(Restored { revision: list.revision, saved: saved.unwrap_or(SystemTime::UNIX_EPOCH), files }))
    }

    /// Keeps a text, for a list to come.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn put(&mut self, text: &str) -> Result<(), Error> {
        let digest = digest_of(text);
        if !self.texts.contains(&digest) {
            file::replace(&self.directory.join(hex(&digest)), text.as_bytes(), Mode::Private)?;
            self.texts.insert(digest);
        }
        Ok(())
    }

    /// Makes a list the one that counts. Texts that are in none any more are removed, save those that may come to be in one.
    ///
    /// # Errors
    /// [`Error`]; the list before counts.
    pub(super) fn commit<'a>(
        &mut self,
        files: impl Iterator<Item = (&'a Path, &'a Digest)>,
        candidates: impl Iterator<Item = &'a Digest>,
        revision: &str,
        now: SystemTime,
    ) -> Result<(), Error> {
        let mut entries = Vec::new();
        let mut listed = HashSet::new();
        for (path, digest) in files {
            if !self.texts.contains(digest) {
                return Err(Error::Missing { path: path.to_owned() });
            }
            listed.insert(*digest);
            entries.push(Entry { path: path.to_owned(), sha256: hex(digest) });
        }
        let saved = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let list = List { revision: revision.to_owned(), saved, files: entries };
        let path = self.directory.join(LIST);
        let text = serde_json::to_vec(&list).map_err(|_| Error::Ruined { path: path.clone() })?;
        file::replace(&path, &text, Mode::Private)?;
        listed.extend(candidates.filter(|digest| self.texts.contains(*digest)));
        for digest in self.texts.difference(&listed) {
            // One that stays is only in the way.
            let _ = file::remove(&self.directory.join(hex(digest)));
        }
        self.texts = listed;
        Ok(())
    }
}
