//! A directory of YAML files, looked at in intervals.
//!
//! Polling, not file system events: it works alike on every file system, for mounted volumes that are swapped by symbolic
//! links, and for editors that rename. A file that is being written may be read half; it then fails to parse or changes
//! again, and either way the next look corrects it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Deepest nesting of directories.
const MAX_DEPTH: usize = 16;

/// A file and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path below the directory.
    pub path: PathBuf,
    /// Its text, or why it has none.
    pub text: Result<String, String>,
}

/// Reads all `.yaml` and `.yml` files below a directory, in the order of their paths. Hidden files and directories are
/// passed over, as are those that editors and volume mounts put beside.
///
/// # Errors
/// The directory itself cannot be read. A single bad file is part of the result.
pub fn read(directory: &Path) -> io::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    walk(directory, Path::new(""), 0, &mut files)?;
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

fn text(path: &Path, metadata: &fs::Metadata) -> Result<String, String> {
    match metadata.len() {
        bytes if bytes > MAX_FILE_BYTES => Err(format!("{bytes} bytes exceed the limit of {MAX_FILE_BYTES}")),
        _ => fs::read_to_string(path).map_err(|error| error.to_string()),
    }
}

fn walk(root: &Path, below: &Path, depth: usize, files: &mut Vec<SourceFile>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let path = below.join(&name);
        // Follows links: mounted volumes consist of them.
        let Ok(metadata) = fs::metadata(root.join(&path)) else { continue };
        if metadata.is_dir() && depth < MAX_DEPTH {
            walk(root, &path, depth + 1, files)?;
        } else if metadata.is_file() && is_yaml(&path) {
            let text = text(&root.join(&path), &metadata);
            files.push(SourceFile { path, text });
        }
    }
    Ok(())
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}
