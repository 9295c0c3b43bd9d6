use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Error;
use crate::source::settings;

/// Where a repository is, and how it is come by.
#[derive(Clone)]
pub(super) struct Remote {
    url: String,
    protocol: Protocol,
    access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Https,
    Ssh,
    File,
    Http,
    Git,
}

#[derive(Debug, Clone)]
struct Access {
    username: String,
    token: Option<PathBuf>,
    roots: Option<PathBuf>,
    key: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
}

/// What a command needs to reach a remote.
#[derive(Default)]
pub(super) struct Reach {
    pub(super) configuration: Vec<(String, String)>,
    pub(super) environment: Vec<(&'static str, String)>,
}

impl Remote {
    /// # Errors
    /// [`Error::Setting`].
    pub(super) fn new(settings: &settings::Git) -> Result<Self, Error> {
        let url = settings.url.as_str();
        let bad = |reason: &str| Err(Error::Setting { setting: "url", reason: reason.to_owned() });
        if url.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
            return bad("it holds white space");
        }
        let (protocol, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Protocol::Https, rest),
            Some(("ssh", rest)) => (Protocol::Ssh, rest),
            Some(("file", rest)) => (Protocol::File, rest),
            Some(("http", rest)) => (Protocol::Http, rest),
            Some(("git", rest)) => (Protocol::Git, rest),
            Some(_) => return bad("the protocol is none of https, ssh and file"),
            None => match url.split_once(':') {
                // The short form of ssh. `<helper>::<address>` would be another program.
                Some((host, path)) if !host.contains('/') && !path.starts_with(':') => (Protocol::Ssh, url),
                _ => return bad("write https://host/path, ssh://user@host/path, user@host:path or file:///path"),
            },
        };
        let authority = rest.split('/').next().unwrap_or_default();
        match protocol {
            Protocol::Http | Protocol::Git if !settings.plaintext => {
                return bad("what comes in plaintext may be anybody's; `plaintext: true` allows it");
            }
            Protocol::Https | Protocol::Http | Protocol::Git if authority.contains('@') => {
                return bad("names and passwords do not belong here, but into `username` and `token_file`");
            }
            Protocol::Ssh if settings.ssh_key.is_none() || settings.known_hosts.is_none() => {
                return bad("ssh needs `ssh_key` and `known_hosts`");
            }
            Protocol::File if !authority.is_empty() => return bad("write file:///path"),
            _ => {}
        }
        if protocol != Protocol::File && (authority.is_empty() || authority.starts_with('-')) {
            return bad("it names no host");
        }
        let access = Access {
            username: settings.username.clone(),
            token: settings.token_file.clone(),
            roots: settings.roots.clone(),
            key: settings.ssh_key.clone(),
            known_hosts: settings.known_hosts.clone(),
        };
        if access.token.is_some() && protocol != Protocol::Https {
            return Err(Error::Setting { setting: "token_file", reason: "a token is sent over https only".to_owned() });
        }
        if access.username.contains(':') || access.username.chars().any(char::is_control) {
            return Err(Error::Setting { setting: "username", reason: "it holds a colon".to_owned() });
        }
        // They become words of a command line that a shell and then ssh take apart.
        for (setting, path) in [("ssh_key", &access.key), ("known_hosts", &access.known_hosts)] {
            if path.as_deref().is_some_and(|path| !is_plain(path)) {
                let reason = "only letters, digits and `/._-` may stand in this path".to_owned();
                return Err(Error::Setting { setting, reason });
            }
        }
        Ok(Self { url: url.to_owned(), protocol, access })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// How it is reached now: secrets are read anew each time, as others replace them.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Setting`].
    pub(super) fn reach(&self) -> Result<Reach, Error> {
        let mut reach = Reach::default();
        reach.environment.push(("GIT_ALLOW_PROTOCOL", self.protocol.as_str().to_owned()));
        if let Some(path) = &self.access.token {
            let token = read("token_file", path)?;
            let token = token.trim();
            if token.is_empty() || token.chars().any(char::is_control) {
                let reason = "it holds no token, or more than one line".to_owned();
                return Err(Error::Setting { setting: "token_file", reason });
            }
            let credentials = STANDARD.encode(format!("{}:{token}", self.access.username));
            // For this URL only, not for whatever else would be asked for.
            let key = format!("http.{}.extraHeader", self.url);
            reach.configuration.push((key, format!("Authorization: Basic {credentials}")));
        }
        if let Some(path) = &self.access.roots {
            reach.configuration.push(("http.sslCAInfo".to_owned(), path.display().to_string()));
        }
        if let (Some(key), Some(known_hosts)) = (&self.access.key, &self.access.known_hosts) {
            reach.environment.push(("GIT_SSH_COMMAND", ssh(key, known_hosts)));
            reach.environment.push(("GIT_SSH_VARIANT", "ssh".to_owned()));
        }
        Ok(reach)
    }
}

impl Remote {
    /// Says what is meant where git would ask somebody for a password.
    pub(super) fn explained(&self, error: Error) -> Error {
        match error {
            Error::Git { what, said } if said.contains("could not read Username") => {
                let reason = match self.access.token {
                    Some(_) => "it does not take those of `username` and `token_file`",
                    None => "there is no `token_file`",
                };
                Error::Git { what, said: format!("the remote wants a name and a password, and {reason}: {said}") }
            }
            error => error,
        }
    }
}

/// It tells no secret: there is none in it.
impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("url", &self.url).field("access", &self.access).finish_non_exhaustive()
    }
}

impl Protocol {
    /// As git names it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Ssh => "ssh",
            Self::File => "file",
            Self::Http => "http",
            Self::Git => "git",
        }
    }
}

/// ssh with one key and the hosts that are known, and nothing that a configuration or an agent says.
fn ssh(key: &Path, known_hosts: &Path) -> String {
    let (key, known_hosts) = (key.display(), known_hosts.display());
    format!(
        "ssh -F none -a -x -T -i {key} -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none \
         -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o UserKnownHostsFile={known_hosts} \
         -o GlobalKnownHostsFile=/dev/null -o ClearAllForwardings=yes -o ControlPath=none -o ConnectTimeout=20"
    )
}

fn is_plain(path: &Path) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    path.to_str().is_some_and(|path| !path.starts_with('-') && path.chars().all(is_plain))
}

pub(super) fn read(setting: &'static str, path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::File { setting, path: path.to_owned(), source })
}
