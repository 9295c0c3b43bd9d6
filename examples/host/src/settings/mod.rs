//! Settings files: YAML, read strictly. A bad setting is named with file, line and column. Settings that all members of a mesh
//! have are declared by [`member_settings`](crate::member_settings).

mod member;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// A settings file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{place}: {message}")]
    Parse {
        /// File, line and column.
        place: Place,
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Line and column, counted from 1, where they are known.
    pub line_column: Option<(u64, u64)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match self.line_column {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// Reads a settings file.
///
/// # Errors
/// [`Error`].
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// Reads settings from the text of a file.
///
/// # Errors
/// [`Error::Parse`].
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Error> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line_column = error.location().map(|location| (location.line(), location.column()));
        let place = Place { path: path.to_owned(), line_column };
        Error::Parse { place, message: first_line(&error.to_string()) }
    })
}

/// The first line of a YAML error without the place, which is told beside it; what follows is an excerpt of the file.
#[must_use]
pub fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    match line.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((place, rest)) if place.contains(" column ") => rest.to_owned(),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Settings {
        port: u16,
    }

    #[test]
    fn a_bad_setting_is_named_with_its_place() {
        let error = parse::<Settings>(Path::new("a.yaml"), "port: 1\nprot: 2\n").unwrap_err().to_string();
        assert_eq!(error, "a.yaml:2:1: unknown field `prot`, expected one of port");
    }
}
