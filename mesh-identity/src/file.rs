//! Files that are whole or absent: written beside, synced, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}", path.display())]
pub struct Error {
    verb: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Error {
    pub(crate) fn malformed(path: &Path, what: &'static str) -> Self {
        let source = io::Error::new(io::ErrorKind::InvalidData, what);
        Self { verb: "read", path: path.to_owned(), source }
    }

    /// Whether the file does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everybody: certificates, bundles.
    Public,
    /// The owner: keys.
    Private,
}

/// Replaces a file. After a crash at any moment either the old or the new content is there, whole.
///
/// # Errors
/// [`Error`] with the path; the old file is then untouched.
pub fn replace(path: &Path, content: &[u8], mode: Mode) -> Result<(), Error> {
    let failed = |source| Error { verb: "write", path: path.to_owned(), source };
    let mut scratch = path.as_os_str().to_owned();
    scratch.push(".new");
    let scratch = PathBuf::from(scratch);
    write(&scratch, path, content, mode).map_err(|source| {
        let _ = fs::remove_file(&scratch);
        failed(source)
    })
}

fn write(scratch: &Path, path: &Path, content: &[u8], mode: Mode) -> io::Result<()> {
    // A leftover of a crash may have another mode; `create_new` takes the mode from us.
    match fs::remove_file(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if mode == Mode::Private { 0o600 } else { 0o644 });
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(scratch)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(scratch, path)?;
    // The rename itself must survive a crash.
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Whether something stands at a path, be it a link that leads nowhere.
///
/// # Errors
/// [`Error`] when that cannot be told: what cannot be looked at must not be taken for absent.
pub fn exists(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error { verb: "look for", path: path.to_owned(), source }),
    }
}

/// Reads a file whole.
///
/// # Errors
/// [`Error`] with the path.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error { verb: "read", path: path.to_owned(), source })
}

/// Waits until this process alone holds a lock file, which is made. It is held until the value is dropped.
///
/// # Errors
/// [`Error`] with the path.
pub fn lock(path: &Path) -> Result<File, Error> {
    let failed = |source| Error { verb: "lock", path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// The files of a directory, by name.
///
/// # Errors
/// [`Error`] with the path.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error { verb: "list", path: path.to_owned(), source };
    let entries = fs::read_dir(path).map_err(failed)?;
    let mut all =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    all.sort();
    Ok(all)
}

/// Removes a file that may be absent.
///
/// # Errors
/// [`Error`] with the path.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error { verb: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

/// Makes a directory that only its owner enters, with all parents.
///
/// # Errors
/// [`Error`] with the path.
pub fn private_directory(path: &Path) -> Result<(), Error> {
    let failed = |source| Error { verb: "create", path: path.to_owned(), source };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(failed)
}
