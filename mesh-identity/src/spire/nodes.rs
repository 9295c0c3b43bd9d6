use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use mesh_core::name::{SpiffeId, parse_spiffe_id};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::convert::{seconds, time};
use crate::attest::Attested;
use crate::file;
use crate::hex::hex;
use crate::registry::Selector;
use crate::svid;
use crate::verify::VerifiedPeer;

/// Most nodes.
const MAX_NODES: usize = 100_000;

/// The nodes that have attested, each with the certificates that count for it, in memory or in a directory with a file for
/// each.
///
/// A node has a current certificate and, after a renewal, a pending one: it becomes current when it is used first, and the old
/// one then counts no more. So an answer that got lost shuts no node out, and a stolen old key is of no use.
#[derive(Debug)]
pub struct Nodes {
    all: Mutex<BTreeMap<SpiffeId, Record>>,
    directory: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    id: String,
    kind: String,
    selectors: Vec<String>,
    #[serde(default)]
    alias: Option<String>,
    reattestable: bool,
    banned: bool,
    current: Certificate,
    #[serde(default)]
    pending: Option<Certificate>,
}

/// What is remembered of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Certificate {
    serial: String,
    /// Digest of its public key.
    key: String,
    /// Seconds since 1970.
    expires: i64,
}

impl Certificate {
    fn of(leaf: &CertificateDer<'_>) -> Result<Self, NodeRefused> {
        let leaf = svid::parse(leaf).map_err(|_| NodeRefused::Unreadable)?;
        let (_, end) = svid::validity(&leaf).map_err(|_| NodeRefused::Unreadable)?;
        let key = hex(digest(&SHA256, leaf.public_key().raw).as_ref());
        Ok(Self { serial: hex(leaf.raw_serial()), key, expires: seconds(end) })
    }
}

/// A node that has attested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its SPIFFE ID.
    pub id: SpiffeId,
    /// By what kind of evidence.
    pub kind: String,
    /// What was found of it.
    pub selectors: BTreeSet<Selector>,
    /// A further identity that it was promised.
    pub alias: Option<SpiffeId>,
    /// Whether it was banned.
    pub banned: bool,
    /// End of its certificate.
    pub expires: SystemTime,
}

/// A node is not let in, or cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeRefused {
    /// It was banned.
    #[error("the node is banned")]
    Banned,
    /// It has attested before, and its evidence counts once.
    #[error("the node has attested before, and its evidence counts once")]
    Used,
    /// Another node has this key.
    #[error("the key is another node's")]
    OtherNodesKey,
    /// It has never attested, or was deleted.
    #[error("the node has not attested")]
    Unknown,
    /// It shows a certificate that was replaced.
    #[error("the node's certificate was replaced by a newer one")]
    Replaced,
    /// Its certificate has expired.
    #[error("the node's certificate has expired")]
    Expired,
    /// There are as many nodes as there may be.
    #[error("there are {MAX_NODES} nodes already")]
    TooMany,
    /// Its certificate cannot be read.
    #[error("the node's certificate cannot be read")]
    Unreadable,
    /// The store cannot be written.
    #[error("the node cannot be kept")]
    Store(#[from] file::Error),
}

impl Nodes {
    /// Nodes that are forgotten when the process ends: those whose evidence counts once could then attest again.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { all: Mutex::default(), directory: None }
    }

    /// Nodes that are kept in a directory, which is made.
    ///
    /// # Errors
    /// [`file::Error`] when it cannot be read, or holds what is no node.
    pub fn open(directory: &Path) -> Result<Self, file::Error> {
        file::private_directory(directory)?;
        let mut all = BTreeMap::new();
        for path in file::list(directory)? {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let malformed = || file::Error::malformed(&path, "no node");
            let record: Record = serde_json::from_slice(&file::read(&path)?).map_err(|_| malformed())?;
            all.insert(parse_spiffe_id(&record.id).map_err(|_| malformed())?, record);
        }
        Ok(Self { all: Mutex::new(all), directory: Some(directory.to_owned()) })
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> Vec<NodeView> {
        self.all.lock().iter().map(|(id, record)| record.view(id)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &SpiffeId) -> Option<NodeView> {
        self.all.lock().get(id).map(|record| record.view(id))
    }

    /// Shuts a node out: its certificates count no more, and it cannot attest again. Says whether it was known.
    ///
    /// # Errors
    /// [`NodeRefused::Store`].
    pub fn ban(&self, id: &SpiffeId) -> Result<bool, NodeRefused> {
        let mut all = self.all.lock();
        let Some(record) = all.get(id) else { return Ok(false) };
        let record = Record { banned: true, ..record.clone() };
        self.keep(&record)?;
        all.insert(id.clone(), record);
        Ok(true)
    }

    /// Forgets a node: its certificates count no more, and it may attest again, banned or not. Says whether it was known.
    ///
    /// # Errors
    /// [`NodeRefused::Store`].
    pub fn delete(&self, id: &SpiffeId) -> Result<bool, NodeRefused> {
        let mut all = self.all.lock();
        if let Some(directory) = &self.directory
            && all.contains_key(id)
        {
            file::remove(&directory.join(name(id)))?;
        }
        Ok(all.remove(id).is_some())
    }

    /// Whether a node may attest. Asked before a certificate is issued; [`Nodes::attested`] asks again.
    pub(super) fn may_attest(&self, id: &SpiffeId) -> Result<(), NodeRefused> {
        self.all.lock().get(id).map_or(Ok(()), Record::may_attest)
    }

    /// A node has attested and gets this certificate.
    pub(super) fn attested(
        &self,
        id: &SpiffeId,
        kind: &str,
        attested: &Attested,
        leaf: &CertificateDer<'_>,
    ) -> Result<(), NodeRefused> {
        let current = Certificate::of(leaf)?;
        let record = Record {
            id: id.to_string(),
            kind: kind.to_owned(),
            selectors: attested.selectors.clone(),
            alias: attested.alias.clone(),
            reattestable: attested.reattestable,
            banned: false,
            current,
            pending: None,
        };
        let mut all = self.all.lock();
        match all.get(id) {
            Some(known) => known.may_attest()?,
            None if all.len() >= MAX_NODES => return Err(NodeRefused::TooMany),
            None => {}
        }
        others_key(&all, id, &record.current)?;
        self.keep(&record)?;
        all.insert(id.clone(), record);
        Ok(())
    }

    /// A node renewed its certificate.
    pub(super) fn renewed(&self, id: &SpiffeId, leaf: &CertificateDer<'_>) -> Result<(), NodeRefused> {
        let pending = Certificate::of(leaf)?;
        let mut all = self.all.lock();
        others_key(&all, id, &pending)?;
        let record = all.get(id).ok_or(NodeRefused::Unknown)?;
        let record = Record { pending: Some(pending), ..record.clone() };
        self.keep(&record)?;
        all.insert(id.clone(), record);
        Ok(())
    }

    /// A verified peer calls as a node.
    ///
    /// # Errors
    /// [`NodeRefused`] with the reason.
    pub fn authorize(&self, peer: &VerifiedPeer, now: SystemTime) -> Result<NodeView, NodeRefused> {
        let mut all = self.all.lock();
        let record = all.get(peer.id()).ok_or(NodeRefused::Unknown)?;
        if record.banned {
            return Err(NodeRefused::Banned);
        }
        let serial = hex(peer.serial());
        if now > peer.not_after() {
            return Err(NodeRefused::Expired);
        }
        if record.current.serial == serial {
            return Ok(record.view(peer.id()));
        }
        let Some(pending) = record.pending.clone().filter(|pending| pending.serial == serial) else {
            return Err(NodeRefused::Replaced);
        };
        let record = Record { current: pending, pending: None, ..record.clone() };
        self.keep(&record)?;
        let view = record.view(peer.id());
        all.insert(peer.id().clone(), record);
        Ok(view)
    }

    fn keep(&self, record: &Record) -> Result<(), NodeRefused> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let id = parse_spiffe_id(&record.id).map_err(|_| NodeRefused::Unreadable)?;
        let text = serde_json::to_vec(record).map_err(|_| NodeRefused::Unreadable)?;
        Ok(file::replace(&directory.join(name(&id)), &text, file::Mode::Private)?)
    }
}

impl Record {
    fn may_attest(&self) -> Result<(), NodeRefused> {
        match () {
            () if self.banned => Err(NodeRefused::Banned),
            () if !self.reattestable => Err(NodeRefused::Used),
            () => Ok(()),
        }
    }

    fn view(&self, id: &SpiffeId) -> NodeView {
        let selectors = self.selectors.iter().map(|value| Selector::new(&self.kind, value));
        NodeView {
            id: id.clone(),
            kind: self.kind.clone(),
            selectors: selectors.collect(),
            alias: self.alias.as_ref().and_then(|alias| parse_spiffe_id(alias).ok()),
            banned: self.banned,
            expires: time(self.current.expires).unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// One key is one node: whoever shows good evidence of a machine with the key of another is not that machine.
fn others_key(all: &BTreeMap<SpiffeId, Record>, id: &SpiffeId, certificate: &Certificate) -> Result<(), NodeRefused> {
    let holds = |record: &Record| {
        let pending = record.pending.iter().map(|pending| &pending.key);
        std::iter::once(&record.current.key).chain(pending).any(|key| *key == certificate.key)
    };
    let other = all.iter().any(|(known, record)| known != id && holds(record));
    if other { Err(NodeRefused::OtherNodesKey) } else { Ok(()) }
}

/// The file of a node. Its name tells nothing: the ID may hold what no file name can.
fn name(id: &SpiffeId) -> String {
    format!("{}.json", hex(digest(&SHA256, id.to_string().as_bytes()).as_ref()))
}

impl fmt::Display for NodeView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}
