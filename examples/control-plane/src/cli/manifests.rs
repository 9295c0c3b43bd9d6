//! Manifests that commands read: of a directory, or of what it held at a revision of the git repository that it is in,
//! asked of `git` itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mesh_core::name::parse_trust_domain;
use mesh_host::member::Error;

use crate::admission::SourceFile;
use crate::admission::admit;
use crate::finding::{Finding, Severity};
use crate::preview::Mesh;
use crate::settings::Settings;
use crate::source::dir::{self, MAX_FILE_BYTES, is_read};
use crate::translate;
use crate::world::World;

/// Names of the place that manifests describe.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Settings file (YAML) of the control plane, for the names below.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Trust domain of the workloads.
    #[arg(long, default_value = "cluster.local")]
    trust_domain: String,
    /// Namespace whose policies apply everywhere.
    #[arg(long, default_value = "istio-system")]
    root_namespace: String,
    /// Domain of Kubernetes services.
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// Network of the workloads.
    #[arg(long, default_value = "")]
    network: String,
}

impl Place {
    /// The names, of which those of a settings file count before all others.
    pub(super) fn read(&self) -> Result<translate::Place, Error> {
        if let Some(config) = &self.config {
            let settings: Settings = mesh_host::settings::load(config)?;
            return Ok(settings.place()?);
        }
        Ok(translate::Place {
            network: self.network.clone(),
            root_namespace: self.root_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
            // Uids are compared between two sides of one place only.
            ..translate::Place::new(parse_trust_domain(&self.trust_domain)?, "Kubernetes")
        })
    }
}

/// The manifests of a directory.
pub(super) fn read(directory: &Path) -> Result<Vec<SourceFile>, Error> {
    dir::read(directory).map_err(|error| format!("cannot read {}: {error}", directory.display()).into())
}

/// What manifests come to; errors in them are printed.
pub(super) fn mesh(files: &[SourceFile], name: &str, place: &translate::Place) -> Result<Mesh, Error> {
    Ok(Mesh::new(&world(files, name)?, place))
}

/// The objects of manifests; errors in them are printed.
pub(super) fn world(files: &[SourceFile], name: &str) -> Result<World, Error> {
    match admit(files) {
        Ok((world, _)) => Ok(world),
        Err(findings) => {
            let errors: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
            for finding in &errors {
                let _ = writeln!(std::io::stderr(), "{finding}");
            }
            Err(format!("{name} could not be served: {} errors", errors.len()).into())
        }
    }
}

/// Reads the manifests of a directory as they were at a revision.
///
/// # Errors
/// There is no such revision, the directory is in no repository, or there is no `git`.
pub(super) fn at_revision(directory: &Path, revision: &str) -> Result<Vec<SourceFile>, Error> {
    // It would be taken for an option.
    if revision.starts_with('-') {
        return Err(format!("`{revision}` is no revision").into());
    }
    let commit = git(directory, &["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")], "")
        .map_err(|_| format!("`{revision}` is no revision of the repository of {}", directory.display()))?;
    let commit = String::from_utf8_lossy(&commit).trim().to_owned();
    let listed = git(directory, &["ls-tree", "-r", "-z", &commit], "")?;
    let listed = String::from_utf8_lossy(&listed);
    let mut entries: Vec<(PathBuf, &str)> = listed.split('\0').filter_map(entry).collect();
    entries.sort();
    let wanted: String = entries.iter().map(|(_, id)| format!("{id}\n")).collect();
    let output = git(directory, &["cat-file", "--batch"], &wanted)?;
    let mut rest = output.as_slice();
    let texts = entries.into_iter().map(|(path, _)| {
        let text = next(&mut rest).ok_or("git does not say what the files hold")?;
        Ok(SourceFile { path, text })
    });
    texts.collect()
}

/// Path and id of a manifest among what is listed: `<mode> blob <id>\t<path>`. Links are passed over: what they lead to
/// is listed itself, if it is there.
fn entry(line: &str) -> Option<(PathBuf, &str)> {
    let (head, path) = line.split_once('\t')?;
    let mut parts = head.split(' ');
    let (mode, kind, id) = (parts.next()?, parts.next()?, parts.next()?);
    let hidden = path.split('/').any(|part| part.starts_with('.'));
    let path = PathBuf::from(path);
    (kind == "blob" && mode != "120000" && !hidden && is_read(&path)).then_some((path, id))
}

/// The next file of what `cat-file` says: `<id> blob <size>`, a line break, the content, a line break.
fn next(rest: &mut &[u8]) -> Option<Result<String, String>> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let head = std::str::from_utf8(rest.get(..end)?).ok()?;
    let size: usize = head.rsplit(' ').next()?.parse().ok()?;
    let content = rest.get(end + 1..end + 1 + size)?;
    *rest = rest.get(end + 2 + size..)?;
    if size as u64 > MAX_FILE_BYTES {
        return Some(Err(format!("{size} bytes exceed the limit of {MAX_FILE_BYTES}")));
    }
    Some(String::from_utf8(content.to_vec()).map_err(|error| error.to_string()))
}

fn git(directory: &Path, arguments: &[&str], input: &str) -> Result<Vec<u8>, Error> {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("git: {error}"))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // Both ends at once: pipes hold little.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}
