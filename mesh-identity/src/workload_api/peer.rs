use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use crate::registry::Selector;

/// The process at the other end of a Unix socket, as the kernel named it when it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When the process started, in clock ticks since boot: a number that was given anew has another.
    started: Option<u64>,
}

impl Peer {
    /// The peer of a connection. `None` when the kernel does not name its process, as across process namespaces.
    #[must_use]
    pub fn of(stream: &tokio::net::UnixStream) -> Option<Self> {
        let credentials = stream.peer_cred().ok()?;
        let pid = credentials.pid().filter(|pid| *pid > 0)?;
        Some(Self { pid, uid: credentials.uid(), gid: credentials.gid(), started: started(pid) })
    }

    /// Whether the process still is the one that connected.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        if !cfg!(target_os = "linux") {
            return true;
        }
        let now = started(self.pid);
        now.is_some() && now == self.started
    }
}

/// Field 22 of `/proc/<pid>/stat`. The name of the process, which it chooses itself, ends with the last parenthesis.
fn started(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Finds out what a process is.
pub trait WorkloadAttestor: fmt::Debug + Send + Sync + 'static {
    /// What is found of a process.
    ///
    /// # Errors
    /// [`AttestError`] when nothing can be said for certain; the caller is then told to try again.
    fn selectors(&self, peer: &Peer) -> Result<BTreeSet<Selector>, AttestError>;
}

/// A process could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("process {pid} cannot be looked at: {why}")]
pub struct AttestError {
    /// The process.
    pub pid: i32,
    /// Why not.
    pub why: String,
}

/// Attests by Unix credentials, with SPIRE's selectors: `unix:uid`, `unix:user`, `unix:gid`, `unix:group`,
/// `unix:supplementary_gid`, `unix:supplementary_group`, and on request `unix:path` and `unix:sha256` of the program.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnixAttestor {
    /// Whether the program itself is looked at too. It costs a read of the whole program for each new connection.
    pub program: bool,
}

/// Largest program that is hashed, in bytes.
const MAX_PROGRAM_BYTES: u64 = 512 * 1024 * 1024;

impl WorkloadAttestor for UnixAttestor {
    fn selectors(&self, peer: &Peer) -> Result<BTreeSet<Selector>, AttestError> {
        let failed = |why: &dyn fmt::Display| AttestError { pid: peer.pid, why: why.to_string() };
        let mut found = BTreeSet::new();
        let mut add = |value: String| found.insert(Selector::new("unix", value));
        add(format!("uid:{}", peer.uid));
        add(format!("gid:{}", peer.gid));
        let (users, groups) = (names("/etc/passwd"), names("/etc/group"));
        if let Some(name) = name_of(&users, peer.uid) {
            add(format!("user:{name}"));
        }
        if let Some(name) = name_of(&groups, peer.gid) {
            add(format!("group:{name}"));
        }
        for gid in supplementary(peer.pid).map_err(|error| failed(&error))? {
            add(format!("supplementary_gid:{gid}"));
            if let Some(name) = name_of(&groups, gid) {
                add(format!("supplementary_group:{name}"));
            }
        }
        if self.program {
            let link = format!("/proc/{}/exe", peer.pid);
            let path = fs::read_link(&link).map_err(|error| failed(&error))?;
            add(format!("path:{}", path.display()));
            // Through the link the program itself is opened, not what stands at its path by now.
            add(format!("sha256:{}", hash(&link).map_err(|error| failed(&error))?));
        }
        if peer.is_alive() { Ok(found) } else { Err(failed(&"it ended")) }
    }
}

fn hash(path: &str) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut file = fs::File::open(path)?.take(MAX_PROGRAM_BYTES + 1);
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        total += read as u64;
        context.update(&buffer[..read]);
    }
    if total > MAX_PROGRAM_BYTES {
        return Err(std::io::Error::other("the program is too large"));
    }
    Ok(crate::hex::hex(context.finish().as_ref()))
}

/// The `Groups:` line of `/proc/<pid>/status`.
fn supplementary(pid: i32) -> std::io::Result<Vec<u32>> {
    if !cfg!(target_os = "linux") {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    Ok(line.split_ascii_whitespace().filter_map(|gid| gid.parse().ok()).collect())
}

/// Text of a file of names and numbers. Users that another service knows have no name here.
fn names(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn name_of(names: &str, number: u32) -> Option<&str> {
    names.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    })
}
