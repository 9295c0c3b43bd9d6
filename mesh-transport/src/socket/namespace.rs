use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::{fstat, fstatfs};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Magic number of the file system that namespaces are files of (`NSFS_MAGIC`).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// A Linux network namespace, held open. Cheap to clone.
///
/// Sockets are made in it and stay in it; the process itself goes on in its own.
#[derive(Debug, Clone)]
pub struct NetNamespace {
    fd: Arc<OwnedFd>,
    id: (u64, u64),
}

impl NetNamespace {
    /// The namespace that a file stands for, such as `/run/netns/name` or `/proc/1/ns/net`.
    ///
    /// # Errors
    /// [`NotANamespace`] as the source of the error, or why the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::from_fd(File::open(path)?.into())
    }

    /// The namespace behind a descriptor, as it comes from a node agent.
    ///
    /// # Errors
    /// [`NotANamespace`] as the source of the error when the descriptor is of something else.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let of_namespaces = fstatfs(&fd)?.f_type as u64 == NSFS_MAGIC;
        let is_network = || -> io::Result<bool> {
            // Entering is the one question that tells network namespaces from others; coming back is part of it.
            let candidate = Self { fd: Arc::new(fd.try_clone()?), id: (0, 0) };
            Ok(candidate.run(|| ()).is_ok())
        };
        if !of_namespaces || !is_network()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NotANamespace));
        }
        let stat = fstat(&fd)?;
        Ok(Self { fd: Arc::new(fd), id: (stat.st_dev, stat.st_ino) })
    }

    /// What tells this namespace from every other one that exists: device and inode.
    #[must_use]
    pub fn id(&self) -> (u64, u64) {
        self.id
    }

    /// Runs a function in the namespace: what it opens, it opens there. It runs on this thread and must not wait.
    ///
    /// # Errors
    /// The process may not enter it.
    pub fn run<T>(&self, function: impl FnOnce() -> T) -> io::Result<T> {
        let home = home()?;
        enter(self.fd.as_fd())?;
        let result = function();
        if let Err(error) = enter(home.as_fd()) {
            // A thread left in a pod's namespace would open everybody's sockets there. There is no safe way on.
            tracing::error!(%error, "cannot return to the proxy's own network namespace");
            std::process::abort();
        }
        Ok(result)
    }
}

impl AsFd for NetNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The namespace of the process, opened once, before any thread has left it.
fn home() -> io::Result<&'static OwnedFd> {
    static HOME: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(home) = HOME.get() {
        return Ok(home);
    }
    // The main thread's, not the current one's.
    let opened = File::open("/proc/self/ns/net")?;
    Ok(HOME.get_or_init(|| opened.into()))
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}

/// A descriptor is not that of a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the descriptor is not that of a network namespace")]
pub struct NotANamespace;
