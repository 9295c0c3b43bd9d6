//! Lists and watches of one kind, as the API server speaks them: pages, events, bookmarks.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::{Api, Lines};
use super::collection::Collection;
use super::error::Error;

/// Most objects of a kind.
const MAX_OBJECTS: usize = 1_000_000;

/// Objects on a page, to begin with.
const PAGE: usize = 500;

/// Most pages, for an API server that gives ever new ones without objects.
const MAX_PAGES: usize = 100_000;

/// Seconds after which the API server is to end a watch; another one goes on where it ended. As client-go has it.
const WATCH_SECONDS: u64 = 300;

/// The longest silence of a watch. A living API server sends a bookmark every minute.
const SILENCE: Duration = Duration::from_secs(150);

/// All objects of a kind, and since when they are so.
#[derive(Debug)]
pub(super) struct Listed {
    /// The version under which they were read.
    pub(super) served: &'static str,
    /// Where a watch goes on.
    pub(super) version: String,
    pub(super) objects: Vec<Box<RawValue>>,
}

/// Lists a kind under the first of its versions that is served. `None` when none is: nobody has installed it.
pub(super) async fn list(api: &Api, kind: &Collection) -> Result<Option<Listed>, Error> {
    for served in kind.versions {
        match list_version(api, kind, served).await {
            Err(error) if error.is_absent() => {}
            listed => return listed.map(Some),
        }
    }
    Ok(None)
}

async fn list_version(api: &Api, kind: &Collection, served: &'static str) -> Result<Listed, Error> {
    let mut size = PAGE;
    loop {
        match list_pages(api, kind, served, size).await {
            // Objects may be large; fewer of them at a time then.
            Err(Error::TooLarge(_)) if size > 1 => size = (size / 10).max(1),
            listed => return listed,
        }
    }
}

async fn list_pages(api: &Api, kind: &Collection, served: &'static str, size: usize) -> Result<Listed, Error> {
    let path = kind.path(served, None)?;
    let mut objects = Vec::new();
    let mut token = String::new();
    for _ in 0..MAX_PAGES {
        let query = query(&[("limit", &size.to_string()), ("fieldSelector", kind.fields), ("continue", &token)]);
        let text = api.get(&format!("{path}?{query}")).await?;
        let page: Page = serde_json::from_slice(&text).map_err(|error| Error::Malformed(error.to_string()))?;
        objects.extend(page.items.unwrap_or_default());
        if objects.len() > MAX_OBJECTS {
            return Err(Error::TooMany(MAX_OBJECTS));
        }
        if page.metadata.resource_version.is_empty() {
            return Err(Error::Malformed("a list without a version".to_owned()));
        }
        if page.metadata.next.is_empty() {
            return Ok(Listed { served, version: page.metadata.resource_version, objects });
        }
        token = page.metadata.next;
    }
    Err(Error::TooMany(MAX_OBJECTS))
}

/// What is asked for, without what is empty.
fn query(fields: &[(&str, &str)]) -> String {
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
}

#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    /// `null` when it is empty.
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

/// What happened to an object.
#[derive(Debug)]
pub(super) enum Event {
    /// It is new, or otherwise than before.
    Put(Box<RawValue>),
    /// It is gone; as it was last.
    Gone(Box<RawValue>),
}

/// A watch of one kind.
pub(super) struct Watch {
    lines: Lines,
}

impl Watch {
    /// Begins where a list or another watch ended. `spread` in 0..=1 keeps watches that began together from ending together.
    pub(super) async fn begin(
        api: &Api,
        kind: &Collection,
        served: &str,
        version: &str,
        spread: f64,
    ) -> Result<Self, Error> {
        // Precision is of no matter: a part of five minutes, in whole seconds.
        let seconds = WATCH_SECONDS + Duration::from_secs(WATCH_SECONDS).mul_f64(spread.clamp(0.0, 1.0)).as_secs();
        let query = query(&[
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", &seconds.to_string()),
            ("fieldSelector", kind.fields),
        ]);
        let path = kind.path(served, None)?;
        Ok(Self { lines: api.watch(&format!("{path}?{query}")).await? })
    }

    /// What happens next; `None` when the API server has ended the watch. `version` is where another would go on.
    ///
    /// # Errors
    /// [`Error`]. After [`Error::Malformed`] and when it [`Error::is_expired`], nobody knows what was missed.
    pub(super) async fn next(&mut self, version: &mut String) -> Result<Option<Event>, Error> {
        loop {
            let line =
                tokio::time::timeout(SILENCE, self.lines.next()).await.map_err(|_| Error::Timeout(SILENCE))??;
            let Some(line) = line else { return Ok(None) };
            if line.trim_ascii().is_empty() {
                continue;
            }
            let malformed = |error: serde_json::Error| Error::Malformed(format!("an event: {error}"));
            let Line { kind, object } = serde_json::from_slice(&line).map_err(malformed)?;
            if kind == "ERROR" {
                let code = serde_json::from_str::<Code>(object.get()).ok().and_then(|status| status.code);
                let code = code.and_then(|code| http::StatusCode::from_u16(code).ok());
                let code = code.unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
                return Err(Error::refused(code, None, object.get().as_bytes()));
            }
            let Versioned { metadata } = serde_json::from_str(object.get()).map_err(malformed)?;
            *version = metadata.resource_version;
            match kind.as_str() {
                "ADDED" | "MODIFIED" => return Ok(Some(Event::Put(object))),
                "DELETED" => return Ok(Some(Event::Gone(object))),
                "BOOKMARK" => {}
                other => return Err(Error::Malformed(format!("an event of type `{other}`"))),
            }
        }
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Box<RawValue>,
}

#[derive(Deserialize)]
struct Code {
    code: Option<u16>,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: VersionedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionedMetadata {
    resource_version: String,
}
