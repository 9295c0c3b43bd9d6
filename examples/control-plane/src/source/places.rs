use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dir::{self, SourceFile};
use super::kept;
use super::settings;
use super::sources::{named, place};

/// Where the files stand whose objects are in force, by the name of their source. An API server has none.
#[derive(Debug, Clone, Default)]
pub struct Places(BTreeMap<Arc<str>, Place>);

#[derive(Debug, Clone)]
struct Place {
    /// The directory, if the source is one.
    directory: Option<PathBuf>,
    /// Where its last good state is kept.
    kept: Option<PathBuf>,
}

impl Places {
    /// Those of the settings, and of the state directory.
    #[must_use]
    pub fn of(settings: &settings::Sources, state: Option<&Path>) -> Self {
        let places = named(&settings.0).unwrap_or_default().into_iter().map(|(name, entry)| {
            let kept = place(state, &name).map(|state| state.join("kept"));
            (name, Place { directory: entry.directory.clone(), kept })
        });
        Self(places.collect())
    }

    /// What a file of a source may hold: as it is now, and as it was when it was good last.
    pub fn texts(&self, source: &str, file: &Path) -> impl Iterator<Item = SourceFile> {
        let place = self.0.get(source);
        let now = place.and_then(|place| place.directory.as_ref());
        let now = now.and_then(|directory| dir::read_file(&directory.join(file)).ok());
        let good = place.and_then(|place| kept::text_of(place.kept.as_ref()?, file));
        let good = good.map(|text| SourceFile { path: file.to_owned(), text: Ok(text) });
        let path = file.to_owned();
        now.into_iter().chain(good).map(move |found| SourceFile { path: path.clone(), ..found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_as_it_is_and_as_it_was_when_it_was_good() {
        let dir = tempfile::tempdir().unwrap();
        let manifests = dir.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        let sources = format!(
            "[{{name: here, directory: {}}}, {{name: fleet, git: {{url: 'file:///x', branch: main}}}}]",
            manifests.display()
        );
        let settings: settings::Sources = mesh_host::settings::parse(Path::new("settings.yaml"), &sources).unwrap();
        let mut kept = kept::Kept::open(&dir.path().join("sources/fleet/kept")).unwrap();
        kept.put("good").unwrap();
        let digest = super::super::files::digest_of("good");
        let files = [(Path::new("a/b.yaml"), &digest)].into_iter();
        kept.commit(files, std::iter::empty(), "1", std::time::SystemTime::UNIX_EPOCH).unwrap();
        std::fs::write(manifests.join("c.yaml"), "now").unwrap();

        let places = Places::of(&settings, Some(dir.path()));
        let texts = |source: &str, file: &str| -> Vec<String> {
            places.texts(source, Path::new(file)).map(|found| found.text.unwrap()).collect()
        };
        assert_eq!(texts("here", "c.yaml"), ["now"]);
        assert_eq!(texts("fleet", "a/b.yaml"), ["good"]);
        for (source, file) in [("fleet", "c.yaml"), ("here", "a/b.yaml"), ("nobody", "c.yaml")] {
            assert!(texts(source, file).is_empty(), "{source} {file}");
        }
        assert_eq!(Places::of(&settings, None).texts("fleet", Path::new("a/b.yaml")).count(), 0);
    }
}
