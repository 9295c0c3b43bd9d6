use std::collections::{BTreeMap, BTreeSet, HashMap};
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
///
/// What changes a node waits for the disk: on an async runtime, call it where blocking is allowed.
#[derive(Debug)]
pub struct Nodes {
    all: Mutex<All>,
    /// Held by whoever changes anything, while the change is written: readers do not wait for the disk.
    writer: Mutex<()>,
    directory: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct All {
    records: BTreeMap<SpiffeId, Record>,
    /// Whose a key is, by its digest.
    keys: HashMap<String, SpiffeId>,
}

impl All {
    fn insert(&mut self, id: SpiffeId, record: Record) {
        self.remove(&id);
        self.keys.extend(record.keys().map(|key| (key.clone(), id.clone())));
        self.records.insert(id, record);
    }

    fn remove(&mut self, id: &SpiffeId) {
        let Some(record) = self.records.remove(id) else { return };
        for key in record.keys() {
            if self.keys.get(key) == Some(id) {
                self.keys.remove(key);
            }
        }
    }

    /// One key is one node: whoever shows good evidence of a machine with the key of another is not that machine.
    fn others_key(&self, id: &SpiffeId, certificate: &Certificate) -> Result<(), NodeRefused> {
        match self.keys.get(&certificate.key) {
            Some(other) if other != id => Err(NodeRefused::OtherNodesKey),
            _ => Ok(()),
        }
    }
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
        Self { all: Mutex::default(), writer: Mutex::default(), directory: None }
    }

    /// Nodes that are kept in a directory, which is made.
    ///
    /// # Errors
    /// [`file::Error`] when it cannot be read, or holds what is no node.
    pub fn open(directory: &Path) -> Result<Self, file::Error> {
        file::private_directory(directory)?;
        let mut all = All::default();
        for path in file::list(directory)? {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let malformed = || file::Error::malformed(&path, "no node");
            let record: Record = serde_json::from_slice(&file::read(&path)?).map_err(|_| malformed())?;
            all.insert(parse_spiffe_id(&record.id).map_err(|_| malformed())?, record);
        }
        Ok(Self { all: Mutex::new(all), writer: Mutex::default(), directory: Some(directory.to_owned()) })
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> Vec<NodeView> {
        self.all.lock().records.iter().map(|(id, record)| record.view(id)).collect()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &SpiffeId) -> Option<NodeView> {
        self.all.lock().records.get(id).map(|record| record.view(id))
    }

    /// Shuts a node out: its certificates count no more, and it cannot attest again. Says whether it was known.
    ///
    /// # Errors
    /// [`NodeRefused::Store`].
    pub fn ban(&self, id: &SpiffeId) -> Result<bool, NodeRefused> {
        let _writer = self.writer.lock();
        let Some(record) = self.record(id) else { return Ok(false) };
        self.keep(id, Record { banned: true, ..record })?;
        Ok(true)
    }

    /// Forgets a node: its certificates count no more, and it may attest again, banned or not. Says whether it was known.
    ///
    /// # Errors
    /// [`NodeRefused::Store`].
    pub fn delete(&self, id: &SpiffeId) -> Result<bool, NodeRefused> {
        let _writer = self.writer.lock();
        if self.record(id).is_none() {
            return Ok(false);
        }
        if let Some(directory) = &self.directory {
            file::remove(&directory.join(name(id)))?;
        }
        self.all.lock().remove(id);
        Ok(true)
    }

    /// Whether a node may attest. Asked before a certificate is issued; [`Nodes::attested`] asks again.
    pub(super) fn may_attest(&self, id: &SpiffeId) -> Result<(), NodeRefused> {
        self.all.lock().records.get(id).map_or(Ok(()), Record::may_attest)
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
        let _writer = self.writer.lock();
        {
            let all = self.all.lock();
            match all.records.get(id) {
                Some(known) => known.may_attest()?,
                None if all.records.len() >= MAX_NODES => return Err(NodeRefused::TooMany),
                None => {}
            }
            all.others_key(id, &record.current)?;
        }
        self.keep(id, record)
    }

    /// A node renewed its certificate.
    pub(super) fn renewed(&self, id: &SpiffeId, leaf: &CertificateDer<'_>) -> Result<(), NodeRefused> {
        let pending = Certificate::of(leaf)?;
        let _writer = self.writer.lock();
        self.all.lock().others_key(id, &pending)?;
        let record = self.record(id).ok_or(NodeRefused::Unknown)?;
        self.keep(id, Record { pending: Some(pending), ..record })
    }

    /// A verified peer calls as a node.
    ///
    /// # Errors
    /// [`NodeRefused`] with the reason.
    pub fn authorize(&self, peer: &VerifiedPeer, now: SystemTime) -> Result<NodeView, NodeRefused> {
        if let Some(view) = self.look(peer, now)? {
            return Ok(view);
        }
        let _writer = self.writer.lock();
        // Another call may have been the first meanwhile.
        if let Some(view) = self.look(peer, now)? {
            return Ok(view);
        }
        let record = self.record(peer.id()).ok_or(NodeRefused::Unknown)?;
        let current = record.pending.clone().ok_or(NodeRefused::Replaced)?;
        let record = Record { current, pending: None, ..record };
        let view = record.view(peer.id());
        self.keep(peer.id(), record)?;
        Ok(view)
    }

    /// As [`Nodes::authorize`], but never waits for the disk: `None` when this is the first use of a renewed certificate,
    /// which has to be kept.
    pub(super) fn look(&self, peer: &VerifiedPeer, now: SystemTime) -> Result<Option<NodeView>, NodeRefused> {
        let all = self.all.lock();
        let record = all.records.get(peer.id()).ok_or(NodeRefused::Unknown)?;
        if record.banned {
            return Err(NodeRefused::Banned);
        }
        if now > peer.not_after() {
            return Err(NodeRefused::Expired);
        }
        let serial = hex(peer.serial());
        if record.current.serial == serial {
            return Ok(Some(record.view(peer.id())));
        }
        match &record.pending {
            Some(pending) if pending.serial == serial => Ok(None),
            _ => Err(NodeRefused::Replaced),
        }
    }

    fn record(&self, id: &SpiffeId) -> Option<Record> {
        self.all.lock().records.get(id).cloned()
    }

    /// Writes a record and then lets it count. The writer's lock is held: nothing else changes meanwhile.
    fn keep(&self, id: &SpiffeId, record: Record) -> Result<(), NodeRefused> {
        if let Some(directory) = &self.directory {
            let text = serde_json::to_vec(&record).map_err(|_| NodeRefused::Unreadable)?;
            file::replace(&directory.join(name(id)), &text, file::Mode::Private)?;
        }
        self.all.lock().insert(id.clone(), record);
        Ok(())
    }
}

impl Record {
    /// Digests of its keys.
    fn keys(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.current).chain(&self.pending).map(|certificate| &certificate.key)
    }

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

/// The file of a node. Its name tells nothing: the ID may hold what no file name can.
fn name(id: &SpiffeId) -> String {
    format!("{}.json", hex(digest(&SHA256, id.to_string().as_bytes()).as_ref()))
}

impl fmt::Display for NodeView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> SpiffeId {
        parse_spiffe_id(&format!("spiffe://td.test/spire/agent/x509pop/{name}")).unwrap()
    }

    fn key() -> rcgen::KeyPair {
        rcgen::KeyPair::generate().unwrap()
    }

    fn leaf(key: &rcgen::KeyPair) -> CertificateDer<'static> {
        rcgen::CertificateParams::default().self_signed(key).unwrap().der().clone()
    }

    #[test]
    fn a_key_is_one_nodes_as_long_as_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut nodes = Nodes::open(dir.path()).unwrap();
        let [first, second, third] = [(); 3].map(|()| key());
        let attest = |nodes: &Nodes, node: &str, key: &rcgen::KeyPair| {
            let found = Attested::new(format!("x509pop/{node}"), Vec::<String>::new());
            nodes.attested(&id(node), "x509pop", &found, &leaf(key))
        };
        attest(&nodes, "a", &first).unwrap();
        nodes.renewed(&id("a"), &leaf(&second)).unwrap();
        for _ in 0..2 {
            // Both count, the current and the one to come.
            for key in [&first, &second] {
                assert!(matches!(attest(&nodes, "b", key), Err(NodeRefused::OtherNodesKey)));
            }
            nodes = Nodes::open(dir.path()).unwrap();
        }
        attest(&nodes, "b", &third).unwrap();
        assert!(matches!(nodes.renewed(&id("b"), &leaf(&first)), Err(NodeRefused::OtherNodesKey)));
        // Attested anew, it has one key; deleted, none.
        attest(&nodes, "a", &first).unwrap();
        nodes.renewed(&id("b"), &leaf(&second)).unwrap();
        assert!(nodes.delete(&id("b")).unwrap());
        attest(&nodes, "a", &third).unwrap();
        attest(&nodes, "c", &second).unwrap();
        let all = nodes.all.lock();
        assert_eq!((all.records.len(), all.keys.len()), (2, 2));
    }

    #[test]
    fn who_reads_does_not_wait_for_what_is_written() {
        let nodes = Nodes::in_memory();
        let found = Attested::new("x509pop/a", Vec::<String>::new());
        nodes.attested(&id("a"), "x509pop", &found, &leaf(&key())).unwrap();
        let _writing = nodes.writer.lock();
        assert!(nodes.get(&id("a")).is_some());
        assert!(nodes.may_attest(&id("a")).is_ok());
    }
}
