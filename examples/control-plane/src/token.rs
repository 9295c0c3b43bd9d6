//! Node tokens: random, known here only by their hash, compared in constant time.

use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use mesh_identity::file;

use crate::settings::Node;

/// Which token belongs to which node.
#[derive(Debug)]
pub(crate) struct Tokens(BTreeMap<String, Vec<u8>>);

/// The least length of a token. Those of `control-plane token` have 64 bytes.
const MIN_TOKEN_BYTES: usize = 16;

/// The nodes' tokens cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A token file cannot be read or written.
    #[error(transparent)]
    File(#[from] file::Error),
    /// A node has no token.
    #[error("node `{0}` has neither token_file nor token_sha256")]
    None(String),
    /// A token that can be guessed.
    #[error("the token of node `{0}` has less than {MIN_TOKEN_BYTES} bytes")]
    Short(String),
    /// Two nodes with one token could not be told apart, nor two with one name.
    #[error("nodes `{0}` and `{1}` have one name or one token")]
    Same(String, String),
    /// A hash is none.
    #[error("token_sha256 of node `{0}` is not 64 hexadecimal digits")]
    Hash(String),
    /// A node is named like somebody else.
    #[error("`{0}` is a SPIFFE ID, no name of a node")]
    Identity(String),
    /// Randomness failed.
    #[error("the system gives no random numbers")]
    Random,
}

impl Tokens {
    /// The tokens of all nodes.
    pub(crate) fn load(nodes: &[Node]) -> Result<Self, Error> {
        let mut tokens = BTreeMap::<String, Vec<u8>>::new();
        for node in nodes {
            // An identity names who came with its certificate.
            if node.name.starts_with("spiffe:") {
                return Err(Error::Identity(node.name.clone()));
            }
            let hash = match (&node.token_file, &node.token_sha256) {
                (Some(path), _) => {
                    let text = file::read(path)?;
                    let token = String::from_utf8_lossy(&text);
                    if token.trim().len() < MIN_TOKEN_BYTES {
                        return Err(Error::Short(node.name.clone()));
                    }
                    hash(token.trim())
                }
                (None, Some(text)) => parse_hash(text).ok_or_else(|| Error::Hash(node.name.clone()))?,
                (None, None) => return Err(Error::None(node.name.clone())),
            };
            // Of a hash nothing tells how long the token was, but for the one of none at all.
            if hash == self::hash("") {
                return Err(Error::Short(node.name.clone()));
            }
            let same = tokens.iter().find(|(name, known)| **name == node.name || **known == hash);
            if let Some((name, _)) = same {
                return Err(Error::Same(name.clone(), node.name.clone()));
            }
            tokens.insert(node.name.clone(), hash);
        }
        Ok(Self(tokens))
    }

    /// The node that has a token.
    pub(crate) fn node_of(&self, token: &str) -> Option<&str> {
        let hash = hash(token);
        let known = self.0.iter().find(|(_, known)| verify_slices_are_equal(known, &hash).is_ok());
        known.map(|(node, _)| node.as_str())
    }
}

/// Writes a new random token to a file that only its owner reads.
pub(crate) fn make(path: &Path) -> Result<(), Error> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(file::replace(path, text.as_bytes(), file::Mode::Private)?)
}

fn hash(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

fn parse_hash(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> =
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    bytes.filter(|bytes| bytes.len() == SHA256_OUTPUT_LEN && text.len() == 2 * SHA256_OUTPUT_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, file: Option<&Path>, hash: Option<&str>) -> Node {
        Node { name: name.into(), token_file: file.map(Into::into), token_sha256: hash.map(Into::into) }
    }

    #[test]
    fn a_token_names_its_node_and_no_other_does() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        make(&a).unwrap();
        make(&b).unwrap();
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_ne!(text(&a), text(&b));
        let digest: String = hash(&text(&b)).iter().map(|byte| format!("{byte:02x}")).collect();
        let tokens = Tokens::load(&[node("a", Some(&a), None), node("b", None, Some(&digest.clone()))]).unwrap();
        assert_eq!(tokens.node_of(&text(&a)), Some("a"));
        assert_eq!(tokens.node_of(&text(&b)), Some("b"));
        for unknown in [String::new(), "x".to_owned(), format!("{}x", text(&a)), digest] {
            assert_eq!(tokens.node_of(&unknown), None, "{unknown}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&a).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nodes_that_cannot_be_told_apart_are_refused() {
        assert!(matches!(Tokens::load(&[node("a", None, None)]), Err(Error::None(name)) if name == "a"));
        assert!(matches!(Tokens::load(&[node("a", None, Some("abc"))]), Err(Error::Hash(_))));
        assert!(matches!(Tokens::load(&[node("a", Some(Path::new("/nowhere")), None)]), Err(Error::File(_))));

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let hex = |token: &str| -> String { hash(token).iter().map(|byte| format!("{byte:02x}")).collect() };
        for short in ["", "\n", "  fifteen bytes..\n"] {
            std::fs::write(&file, short).unwrap();
            let refused = Tokens::load(&[node("a", Some(&file), None)]);
            assert!(matches!(refused, Err(Error::Short(name)) if name == "a"), "{short:?}");
        }
        assert!(matches!(Tokens::load(&[node("a", None, Some(&hex("")))]), Err(Error::Short(_))));
        std::fs::write(&file, "sixteen bytes...\n").unwrap();
        Tokens::load(&[node("a", Some(&file), None)]).unwrap();
        let (one, other) = (hex("sixteen bytes..."), hex("sixteen bytes..!"));
        let both = |second: Node| Tokens::load(&[node("a", Some(&file), None), second]).map(drop);
        both(node("b", None, Some(&other))).unwrap();
        let told = both(node("b", None, Some(&one))).unwrap_err().to_string();
        assert!(told.contains("`a` and `b`"), "{told}");
        assert!(matches!(both(node("a", None, Some(&other))), Err(Error::Same(..))));
    }
}
