//! A git repository, by the program `git`.
//!
//! [`Follow`] is the source. [`Repository`] is a copy of one branch, tag or commit, without a work tree: files are read from the object database, so that
//! nothing that a repository holds is ever executed, linked or written anywhere. Symbolic links, submodules and large file
//! storage are not followed.
//!
//! What a remote can do is bounded: time (`time_limit_seconds`, after which the whole process group is killed), bytes of a
//! fetch and of the files (`max_bytes`), number of files (`max_files`), length of the list of all files. Objects are checked as
//! they come in. One protocol is allowed: that of the URL. Redirects are not followed. Secrets stand in files, are read anew
//! for each fetch, and are handed to git in its environment only.

mod command;
mod error;
mod follow;
mod hook;
mod remote;
mod repository;
mod signature;
mod tree;

pub use error::Error;
pub use follow::Follow;
pub use hook::{Judge, Refused};
pub use repository::{Commit, Offer, Repository};
pub use tree::Blob;

use super::settings::Rewrites;
