use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Largest policy file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Deepest nesting of directories.
const MAX_DEPTH: usize = 16;

/// A policy file and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its path, by which findings name it.
    pub path: PathBuf,
    /// Its text, or why it has none.
    pub text: Result<String, String>,
}

/// Reads the policies below a directory, in the order of their paths: all `*.rego` but tests. Hidden files and directories
/// are passed over.
///
/// # Errors
/// The directory itself cannot be read. A single bad file is part of the result.
pub fn read_directory(directory: &Path) -> io::Result<Vec<PolicyFile>> {
    let mut files = Vec::new();
    walk(directory, 0, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(directory: &Path, depth: usize, files: &mut Vec<PolicyFile>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        // Follows links: mounted volumes consist of them.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() && depth < MAX_DEPTH {
            walk(&path, depth + 1, files)?;
        } else if metadata.is_file() && name.ends_with(".rego") && !name.ends_with("_test.rego") {
            let text = match metadata.len() {
                bytes if bytes > MAX_FILE_BYTES => Err(format!("{bytes} bytes exceed the limit of {MAX_FILE_BYTES}")),
                _ => fs::read_to_string(&path).map_err(|error| error.to_string()),
            };
            files.push(PolicyFile { path, text });
        }
    }
    Ok(())
}
