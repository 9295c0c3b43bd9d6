//! A directory of YAML files, looked at in intervals.
//!
//! Polling, not file system events: it works alike on every file system, for mounted volumes that are swapped by symbolic
//! links, and for editors that rename. A file that is being written may be read half; it then fails to parse or changes
//! again, and either way the next look corrects it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use crate::admission::SourceFile;

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Deepest nesting of directories.
const MAX_DEPTH: usize = 16;

/// A file that was found, and not read yet.
#[derive(Debug)]
pub(super) struct Found {
    /// Path below the directory.
    pub(super) path: PathBuf,
    /// What is known of it, or why nothing is.
    pub(super) metadata: io::Result<fs::Metadata>,
}

/// Reads all `.yaml` and `.yml` files below a directory, in the order of their paths. Hidden files and directories are
/// passed over, as are those that editors and volume mounts put beside.
///
/// # Errors
/// The directory itself cannot be read. A single bad file is part of the result.
pub fn read(directory: &Path) -> io::Result<Vec<SourceFile>> {
    let mut files: Vec<_> = find(directory)?.into_iter().map(|found| found.read(directory)).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Reads one file, whatever its name.
///
/// # Errors
/// There is no such file. What is wrong with its content is part of the result.
pub fn read_file(path: &Path) -> io::Result<SourceFile> {
    let metadata = fs::metadata(path)?;
    Ok(SourceFile { path: path.to_owned(), text: text(path, &metadata) })
}

/// All files that are read, in no order.
///
/// # Errors
/// The directory, or one in it, cannot be read: it is not known then what is not there.
pub(super) fn find(directory: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    walk(directory, Path::new(""), 0, &mut found)?;
    Ok(found)
}

/// Whether a file of this path is read.
pub(crate) fn is_read(path: &Path) -> bool {
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    is_yaml && !path.iter().any(is_hidden)
}

impl Found {
    /// Reads it.
    pub(super) fn read(self, directory: &Path) -> SourceFile {
        let text = match self.metadata {
            _ if self.path.to_str().is_none() => Err("its name is no UTF-8".to_owned()),
            Ok(metadata) => text(&directory.join(&self.path), &metadata),
            Err(error) => Err(error.to_string()),
        };
        SourceFile { path: self.path, text }
    }
}

fn text(path: &Path, metadata: &fs::Metadata) -> Result<String, String> {
    match metadata.len() {
        bytes if bytes > MAX_FILE_BYTES => Err(format!("{bytes} bytes exceed the limit of {MAX_FILE_BYTES}")),
        _ => fs::read_to_string(path).map_err(|error| error.to_string()),
    }
}

fn walk(root: &Path, below: &Path, depth: usize, found: &mut Vec<Found>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let name = entry?.file_name();
        if is_hidden(&name) {
            continue;
        }
        let path = below.join(&name);
        // Follows links: mounted volumes consist of them.
        match fs::metadata(root.join(&path)) {
            Ok(metadata) if metadata.is_dir() && depth < MAX_DEPTH => walk(root, &path, depth + 1, found)?,
            // A pipe or a device is no file, and may never end.
            Ok(metadata) if !metadata.is_file() => {}
            // Gone meanwhile, or a link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata if is_read(&path) => found.push(Found { path, metadata }),
            _ => {}
        }
    }
    Ok(())
}

fn is_hidden(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with('.')
}
