use super::Error;
use super::command::{Git, Task};
use super::repository::{Commit, VERIFY};
use crate::source::settings;

/// The longest that git may say on standard output about a signature.
const MAX_OUTPUT: u64 = 1024 * 1024;

/// Whose commits are taken.
#[derive(Debug, Clone)]
pub(super) struct Signers {
    configuration: Vec<(String, String)>,
    environment: Vec<(&'static str, String)>,
}

impl Signers {
    /// # Errors
    /// [`Error::Setting`].
    pub(super) fn new(settings: &settings::Signed) -> Result<Self, Error> {
        let mut signers = Self { configuration: Vec::new(), environment: Vec::new() };
        let mut set = |key: &str, value: String| signers.configuration.push((key.to_owned(), value));
        match (&settings.allowed_signers, &settings.keyring) {
            (Some(allowed), None) => {
                set("gpg.ssh.program", "ssh-keygen".to_owned());
                set("gpg.ssh.allowedSignersFile", allowed.display().to_string());
                // A good signature by a key that is nobody's is one of undefined trust.
                set("gpg.minTrustLevel", "fully".to_owned());
                if let Some(revoked) = &settings.revoked_keys {
                    set("gpg.ssh.revocationFile", revoked.display().to_string());
                }
            }
            (None, Some(keyring)) if settings.revoked_keys.is_none() => {
                // Who is in the ring may sign: it is for this and nothing else.
                set("gpg.program", "gpg".to_owned());
                signers.environment.push(("GNUPGHOME", keyring.display().to_string()));
            }
            (None, Some(_)) => {
                let reason = "it goes with `allowed_signers`; keys of a ring are revoked in the ring".to_owned();
                return Err(Error::Setting { setting: "signed.revoked_keys", reason });
            }
            _ => {
                let reason = "give one of `allowed_signers` and `keyring`".to_owned();
                return Err(Error::Setting { setting: "signed", reason });
            }
        }
        Ok(signers)
    }

    /// Whether a commit is signed by one of them.
    ///
    /// # Errors
    /// [`Error::Unsigned`], or what kept git from telling.
    pub(super) async fn verify(&self, git: &Git, commit: &Commit) -> Result<(), Error> {
        let task = Task {
            what: VERIFY,
            arguments: &["verify-commit".as_ref(), "--raw".as_ref(), commit.as_ref()],
            configuration: &self.configuration,
            environment: &self.environment,
            input: Vec::new(),
            longest: (MAX_OUTPUT, |_| Error::Garbled("what is known about a signature")),
            growth: None,
        };
        match git.run(task).await {
            Ok(_) => Ok(()),
            Err(Error::Git { said, .. }) => Err(Error::Unsigned { commit: commit.clone(), said }),
            Err(error) => Err(error),
        }
    }
}
