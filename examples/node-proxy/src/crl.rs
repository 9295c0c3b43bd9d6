//! The file of revocation lists, followed as it changes.

use std::path::PathBuf;
use std::time::Duration;

use mesh_core::report::chain;
use mesh_identity::bundle::Revocations;
use mesh_identity::file;
use mesh_identity::source::Identities;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// Puts the lists of a file in force, and again whenever it changes. A file that is not there yet is waited for; one that
/// cannot be read leaves the lists before it in force.
pub(crate) async fn follow(path: PathBuf, identities: Identities) {
    let mut last: Option<Vec<u8>> = None;
    let mut told = false;
    loop {
        match file::read(&path) {
            Ok(bytes) if last.as_ref() == Some(&bytes) => {}
            Ok(bytes) => {
                match Revocations::parse(&bytes) {
                    Ok(lists) => identities.revoke(lists),
                    Err(error) => {
                        tracing::error!(path = %path.display(), %error, "revocation lists not taken; those before go on")
                    }
                }
                last = Some(bytes);
                told = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(path = %path.display(), error = chain(&error), "no revocation lists");
                }
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
