//! Remotes of git on this machine.
#![allow(dead_code, unreachable_pub, reason = "each test uses what it needs")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mesh_control_plane::source::git::{Commit, Repository};
use mesh_control_plane::source::settings;

/// A work tree whose repository is the remote, and a place for copies of it.
pub struct Remote {
    pub dir: tempfile::TempDir,
}

impl Remote {
    pub fn new() -> Self {
        let remote = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(remote.work()).unwrap();
        remote.git(&["init", "--quiet", "--initial-branch=main"]);
        remote
    }

    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs git in the work tree.
    pub fn git<T: AsRef<OsStr>>(&self, arguments: &[T]) -> String {
        self.feed(arguments, b"")
    }

    pub fn feed<T: AsRef<OsStr>>(&self, arguments: &[T], input: &[u8]) -> String {
        let mut command = Command::new("git");
        command.current_dir(self.work()).args(arguments).env("HOME", self.dir.path());
        for name in ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"] {
            command.env(name, "/dev/null");
        }
        for name in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{name}_NAME"), "Ada").env(format!("GIT_{name}_EMAIL"), "ada@mesh.example");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feed = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Commits the work tree as it is.
    pub fn commit(&self) -> Commit {
        self.commit_with(&[])
    }

    pub fn commit_with(&self, more: &[&str]) -> Commit {
        self.git(&["add", "--all"]);
        let how = ["commit", "--quiet", "--allow-empty", "--message=A change"];
        self.git(&[more, &how, if more.is_empty() { &[] } else { &["--gpg-sign"] }].concat());
        self.head()
    }

    pub fn head(&self) -> Commit {
        Commit::parse(&self.git(&["rev-parse", "HEAD"])).unwrap()
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.work().display())
    }

    /// Settings that follow its branch.
    pub fn settings(&self, more: &str) -> settings::Git {
        git(&format!("{{url: '{}', branch: main, {more}}}", self.url()))
    }

    pub fn repository(&self, more: &str) -> Repository {
        Repository::new(&self.settings(more), &self.path("copy")).unwrap()
    }

    /// A program that stands in for git.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

pub fn git(text: &str) -> settings::Git {
    mesh_host::settings::parse(Path::new("settings.yaml"), text).unwrap()
}

/// The files of a commit and their texts.
pub async fn read(repository: &Repository, commit: &Commit) -> Vec<(String, String)> {
    let files = repository.list(commit, |_| true).await.unwrap();
    let contents = repository.read(&files.iter().collect::<Vec<_>>()).await.unwrap();
    let told = files.iter().zip(contents);
    told.map(|(file, content)| (file.path.display().to_string(), String::from_utf8(content).unwrap())).collect()
}
