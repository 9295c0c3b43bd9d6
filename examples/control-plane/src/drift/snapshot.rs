use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Value, json};

use crate::inventory;
use crate::world::World;

/// What somebody runs: the digest of each object, by `Kind namespace/name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The objects.
    pub objects: BTreeMap<String, Entry>,
}

/// An object that somebody runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Digest of what it holds, in hexadecimal.
    pub digest: String,
    /// Where it stands there, as `file:line`.
    pub place: String,
}

/// An answer that is none of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("objects[{0}]: `object` and `digest` are texts")]
#[non_exhaustive]
pub struct Unreadable(usize);

impl Snapshot {
    /// That of a world.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let entry = |item: inventory::Item<'_>| {
            let place = format!("{}:{}", item.origin.file.display(), item.origin.line);
            (item.id.to_string(), Entry { digest: format!("{:032x}", item.digest), place })
        };
        Self { objects: inventory::items(world).map(entry).collect() }
    }

    /// Digest of all objects together, in hexadecimal. Where they stand does not count.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut context = Context::new(&SHA256);
        for (object, entry) in &self.objects {
            context.update(object.as_bytes());
            context.update(b"\0");
            context.update(entry.digest.as_bytes());
            context.update(b"\0");
        }
        context.finish().as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// As the page `/debug/world` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let objects = self.objects.iter();
        let objects = objects.map(|(id, one)| json!({"object": id, "digest": one.digest, "place": one.place}));
        json!({"digest": self.digest(), "objects": objects.collect::<Vec<_>>()})
    }

    /// Reads what the page `/debug/world` shows.
    ///
    /// # Errors
    /// It is nothing that such a page shows.
    pub fn from_json(page: &Value) -> Result<Self, Unreadable> {
        let objects = page["objects"].as_array().ok_or(Unreadable(0))?;
        let entry = |(index, one): (usize, &Value)| {
            let text = |field: &str| one[field].as_str().map(ToOwned::to_owned);
            let (object, digest) = text("object").zip(text("digest")).ok_or(Unreadable(index))?;
            Ok((object, Entry { digest, place: text("place").unwrap_or_default() }))
        };
        Ok(Self { objects: objects.iter().enumerate().map(entry).collect::<Result<_, _>>()? })
    }
}
