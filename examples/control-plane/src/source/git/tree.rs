use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::Error;

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Path below the directory that is read.
    pub path: PathBuf,
    /// The object that holds it. Two that are equal hold the same.
    pub id: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether it is a symbolic link, which is not followed: its content is a path.
    pub is_link: bool,
}

/// The files that `git ls-tree -r -z -l` listed. Submodules are left out.
pub(super) fn listed(printed: &[u8]) -> Result<Vec<Blob>, Error> {
    let entries = printed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    entries.filter_map(|entry| one(entry).transpose()).collect()
}

fn one(entry: &[u8]) -> Result<Option<Blob>, Error> {
    const GARBLED: Error = Error::Garbled("the files of a commit");
    let tab = entry.iter().position(|byte| *byte == b'\t').ok_or(GARBLED)?;
    let (head, path) = (std::str::from_utf8(&entry[..tab]).map_err(|_| GARBLED)?, &entry[tab + 1..]);
    let mut words = head.split_ascii_whitespace();
    let (Some(mode), Some(kind), Some(id), Some(bytes)) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(GARBLED);
    };
    if kind != "blob" {
        return Ok(None);
    }
    let bytes = bytes.parse().map_err(|_| GARBLED)?;
    let path = PathBuf::from(OsStr::from_bytes(path));
    Ok(Some(Blob { path, id: id.to_owned(), bytes, is_link: mode == "120000" }))
}

/// The contents that `git cat-file --batch` printed for some blobs, in their order.
pub(super) fn contents(mut printed: &[u8], asked: &[&Blob]) -> Result<Vec<Vec<u8>>, Error> {
    const GARBLED: Error = Error::Garbled("the contents of files");
    let mut contents = Vec::with_capacity(asked.len());
    for blob in asked {
        let end = printed.iter().position(|byte| *byte == b'\n').ok_or(GARBLED)?;
        if printed[..end] != *format!("{} blob {}", blob.id, blob.bytes).as_bytes() {
            return Err(GARBLED);
        }
        let length = usize::try_from(blob.bytes).map_err(|_| GARBLED)?;
        let rest = &printed[end + 1..];
        let (content, rest) = rest.split_at_checked(length).ok_or(GARBLED)?;
        printed = rest.strip_prefix(b"\n").ok_or(GARBLED)?;
        contents.push(content.to_vec());
    }
    if printed.is_empty() { Ok(contents) } else { Err(GARBLED) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn files_and_links_are_listed_and_submodules_are_not() {
        let printed = format!(
            "100644 blob {ID}      12\ta b\n\tc.yaml\x00120000 blob {ID}       4\tl.yaml\x00160000 commit {ID}       -\tsub\x00"
        );
        let files = listed(printed.as_bytes()).unwrap();
        let told: Vec<_> = files.iter().map(|blob| (blob.path.to_str().unwrap(), blob.bytes, blob.is_link)).collect();
        assert_eq!(told, [("a b\n\tc.yaml", 12, false), ("l.yaml", 4, true)]);
    }

    #[test]
    fn what_is_not_what_was_asked_for_is_refused() {
        let blob = |bytes| Blob { path: "a".into(), id: ID.to_owned(), bytes, is_link: false };
        let (four, none) = (blob(4), blob(0));
        let good = format!("{ID} blob 4\na\nb\n\n{ID} blob 0\n\n");
        let read = contents(good.as_bytes(), &[&four, &none]).unwrap();
        assert_eq!(read, [b"a\nb\n".to_vec(), Vec::new()]);
        for bad in [
            "",
            &format!("{ID} missing\n"),
            &format!("{ID} blob 5\nabcde\n"),
            &format!("{ID} tree 4\nabcd\n"),
            &format!("{ID} blob 4\nabc\n"),
            &format!("{ID} blob 4\nabcd\n{ID}"),
        ] {
            assert!(contents(bad.as_bytes(), &[&four]).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_printed_panics(printed in prop::collection::vec(any::<u8>(), 0..200), bytes in any::<u64>()) {
            let _ = listed(&printed);
            let blob = Blob { path: "a".into(), id: ID.to_owned(), bytes, is_link: false };
            let _ = contents(&printed, &[&blob]);
            let mut told = format!("{ID} blob {bytes}\n").into_bytes();
            told.extend(printed);
            let _ = contents(&told, &[&blob]);
        }
    }
}
