//! The file of revocation lists, followed as it changes.

use std::path::PathBuf;
use std::time::Duration;

use mesh_identity::bundle::Revocations;
use mesh_identity::source::Identities;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// Puts the lists of a file in force, and again whenever it changes. A file that is not there yet is waited for; one that
/// cannot be read leaves the lists before it in force.
pub(crate) async fn follow(path: PathBuf, identities: Identities) {
    let take = |content: &[u8]| Revocations::parse(content).map(|lists| identities.revoke(lists));
    mesh_host::follow::follow(path, None, INTERVAL, take).await;
}
