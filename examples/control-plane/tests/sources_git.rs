//! What is taken of repositories of git, and what is not: real remotes, and hostile ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

#[path = "support/git.rs"]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use mesh_control_plane::source::git::{Error, Repository};
use support::{Remote, git, read};

#[tokio::test]
async fn files_are_read_from_the_directory_asked_for_and_links_and_submodules_are_not_followed() {
    let remote = Remote::new();
    remote.write("elsewhere.yaml", "no");
    remote.write("clusters/east/a.yaml", "one");
    remote.write("clusters/east/deep/b.yaml", "two");
    std::os::unix::fs::symlink("/etc/passwd", remote.work().join("clusters/east/link.yaml")).unwrap();
    remote.write(".gitmodules", "[submodule \"x\"]\npath = clusters/east/x\nurl = https://mesh.example/x\n");
    let first = remote.commit();
    remote.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},clusters/east/x")]);
    remote.git(&["commit", "--quiet", "--message=A submodule"]);

    let repository = remote.repository("path: /clusters/east/");
    let offer = repository.fetch(None).await.unwrap();
    assert_eq!((&offer.commit, offer.continues), (&remote.head(), true));
    let files = repository.list(&offer.commit, |_| true).await.unwrap();
    let told: Vec<_> = files.iter().map(|file| (file.path.to_str().unwrap(), file.is_link)).collect();
    assert_eq!(told, [("a.yaml", false), ("deep/b.yaml", false), ("link.yaml", true)]);
    let told = read(&repository, &offer.commit).await;
    assert_eq!(told[1], ("deep/b.yaml".to_owned(), "two".to_owned()));
    assert_eq!(told[2].1, "/etc/passwd", "its content is a path, and nothing more");
    assert!(!remote.path("copy/modules").exists());

    let elsewhere = Repository::new(&remote.settings("path: clusters/west"), &remote.path("copy")).unwrap();
    let missing = elsewhere.list(&offer.commit, |_| true).await.unwrap_err();
    assert!(missing.to_string().ends_with("has no directory `clusters/west`"), "{missing}");
}

#[tokio::test]
async fn a_commit_that_continues_is_told_from_one_that_rewrites() {
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    let (accepting, refusing) = (remote.repository(""), remote.repository("rewrites: refuse"));
    assert_eq!(accepting.fetch(None).await.unwrap().commit, first);
    accepting.take(&first).await.unwrap();
    for text in ["two", "three"] {
        remote.write("a.yaml", text);
        remote.commit();
    }
    let third = remote.head();
    for repository in [&accepting, &refusing] {
        let offer = repository.fetch(Some(&first)).await.unwrap();
        assert_eq!((&offer.commit, offer.continues), (&third, true));
    }
    accepting.take(&third).await.unwrap();
    fs::remove_dir_all(remote.path("copy")).unwrap();
    assert!(refusing.fetch(Some(&first)).await.unwrap().continues, "the copy is lost, and not what continues what");

    remote.git(&["reset", "--quiet", "--hard", first.as_str()]);
    remote.write("a.yaml", "another third");
    let other = remote.commit();
    let offer = accepting.fetch(Some(&third)).await.unwrap();
    assert_eq!((&offer.commit, offer.continues), (&other, false));
    let refused = refusing.fetch(Some(&third)).await.unwrap_err();
    assert!(matches!(&refused, Error::Rewritten { offered, in_force } if *offered == other && *in_force == third));
    // Back to an older commit is no continuation either.
    remote.git(&["reset", "--quiet", "--hard", first.as_str()]);
    assert!(matches!(refusing.fetch(Some(&third)).await.unwrap_err(), Error::Rewritten { .. }));
    assert!(refusing.fetch(Some(&first)).await.unwrap().continues);
}

#[tokio::test]
async fn tags_and_commits_can_be_pinned() {
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    remote.git(&["tag", "--annotate", "--message=v1", "v1"]);
    remote.write("a.yaml", "two");
    remote.commit();
    for (place, pin) in [("tag: v1", "one"), (&format!("commit: {first}"), "one"), ("branch: main", "two")] {
        let settings = git(&format!("{{url: '{}', {place}}}", remote.url()));
        let repository = Repository::new(&settings, &remote.path("copy")).unwrap();
        let offer = repository.fetch(None).await.unwrap();
        assert_eq!(read(&repository, &offer.commit).await[0].1, pin, "{place}");
    }
}

#[tokio::test]
async fn only_commits_that_are_signed_by_who_may_are_taken() {
    let remote = Remote::new();
    for name in ["mine", "foreign"] {
        let path = remote.path(name);
        let mut made = std::process::Command::new("ssh-keygen");
        made.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
        assert!(made.status().unwrap().success());
    }
    let public = fs::read_to_string(remote.path("mine.pub")).unwrap();
    fs::write(remote.path("allowed"), format!("ada@mesh.example namespaces=\"git\" {public}")).unwrap();
    let signed = |more: &str| {
        let allowed = remote.path("allowed");
        remote.repository(&format!("signed: {{allowed_signers: '{}'{more}}}", allowed.display()))
    };
    let by = |name: &str| {
        let key = format!("user.signingKey={}", remote.path(name).display());
        remote.commit_with(&["-c", "gpg.format=ssh", "-c", &key])
    };
    let repository = signed("");
    let mine = by("mine");
    assert_eq!(repository.fetch(None).await.unwrap().commit, mine);
    for who in [None, Some("foreign")] {
        let unwanted = who.map_or_else(|| remote.commit(), by);
        let refused = repository.fetch(Some(&mine)).await.unwrap_err();
        assert!(matches!(&refused, Error::Unsigned { commit, .. } if *commit == unwanted), "{refused}");
    }
    let again = by("mine");
    assert_eq!(repository.fetch(Some(&mine)).await.unwrap().commit, again);
    fs::write(remote.path("revoked"), &public).unwrap();
    let revoked = signed(&format!(", revoked_keys: '{}'", remote.path("revoked").display()));
    assert!(matches!(revoked.fetch(Some(&mine)).await.unwrap_err(), Error::Unsigned { .. }));
    fs::remove_file(remote.path("allowed")).unwrap();
    assert!(matches!(repository.fetch(Some(&mine)).await.unwrap_err(), Error::Unsigned { .. }), "nobody may sign");
}

#[tokio::test]
async fn only_commits_that_are_signed_by_a_key_of_the_ring_are_taken() {
    let remote = Remote::new();
    let gpg = |home: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new("gpg");
        command.env("GNUPGHOME", remote.path(home)).args(["--batch", "--quiet", "--passphrase", ""]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    if std::process::Command::new("gpg").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no gpg on this machine");
        return;
    }
    for home in ["mine", "foreign", "ring"] {
        fs::create_dir(remote.path(home)).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(remote.path(home), private).unwrap();
    }
    for home in ["mine", "foreign"] {
        gpg(home, &["--quick-generate-key", "ada@mesh.example", "ed25519", "sign", "never"]);
    }
    fs::write(remote.path("mine.asc"), gpg("mine", &["--armor", "--export"])).unwrap();
    gpg("ring", &["--import", remote.path("mine.asc").to_str().unwrap()]);
    let by = |home: &str| {
        let text = format!("export GNUPGHOME='{}'\nexec gpg --batch \"$@\"", remote.path(home).display());
        let program = format!("gpg.program={}", remote.script(&format!("{home}-gpg"), &text).display());
        remote.commit_with(&["-c", "user.signingKey=ada@mesh.example", "-c", &program])
    };
    let repository = remote.repository(&format!("signed: {{keyring: '{}'}}", remote.path("ring").display()));
    let mine = by("mine");
    assert_eq!(repository.fetch(None).await.unwrap().commit, mine);
    for who in [None, Some("foreign")] {
        let unwanted = who.map_or_else(|| remote.commit(), by);
        let refused = repository.fetch(Some(&mine)).await.unwrap_err();
        assert!(matches!(&refused, Error::Unsigned { commit, .. } if *commit == unwanted), "{refused}");
    }
    for home in ["mine", "foreign", "ring"] {
        let _ =
            std::process::Command::new("gpgconf").env("GNUPGHOME", remote.path(home)).args(["--kill", "all"]).output();
    }
}

#[tokio::test]
async fn a_remote_that_hangs_costs_bounded_time_and_leaves_no_process() {
    let remote = Remote::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/x", listener.local_addr().unwrap());
    let (closed, is_closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // It says nothing. It ends when all that hold the other end have.
        let _ = stream.read_to_end(&mut Vec::new());
        closed.send(()).unwrap();
    });
    let settings = git(&format!("{{url: '{url}', branch: main, plaintext: true, time_limit_seconds: 1}}"));
    let began = tokio::time::Instant::now();
    let hung = Repository::new(&settings, &remote.path("copy")).unwrap().fetch(None).await.unwrap_err();
    assert!(matches!(hung, Error::TimedOut { .. }), "{hung}");
    assert!(began.elapsed() < Duration::from_secs(10));
    is_closed.recv_timeout(Duration::from_secs(10)).unwrap();
}

#[tokio::test]
async fn a_remote_that_serves_garbage_is_an_error_of_one_harmless_line() {
    let remote = Remote::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/x", listener.local_addr().unwrap());
    let answers: [&[u8]; 5] = [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b"000eversion 2\n0000ffff",
        b"0044ERR \x1b[31mred\x07 and\nanother line of much text that is no error at",
        &[0xff; 4096],
    ];
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        }
    });
    let settings = git(&format!("{{url: '{url}', branch: main, plaintext: true, time_limit_seconds: 5}}"));
    let repository = Repository::new(&settings, &remote.path("copy")).unwrap();
    for answer in answers {
        let error = repository.fetch(None).await.unwrap_err();
        assert!(matches!(error, Error::Git { .. }), "{answer:?}: {error}");
        let told = error.to_string();
        assert!(told.len() < 5000 && !told.chars().any(char::is_control), "{told}");
    }
}

#[tokio::test]
async fn more_than_is_taken_is_refused_and_not_kept() {
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    let mut noise = vec![0_u8; 3 * 1024 * 1024];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    remote.write("noise.bin", &noise);
    remote.commit();
    let repository = remote.repository("max_bytes: 1000000");
    for _ in 0..2 {
        let error = repository.fetch(Some(&first)).await.unwrap_err();
        assert!(matches!(error, Error::TooMuch { setting: "max_bytes", .. }), "{error}");
    }
    // The file is gone, but not from the history.
    fs::remove_file(remote.work().join("noise.bin")).unwrap();
    let last = remote.commit();
    let offer = repository.fetch(Some(&first)).await.unwrap();
    assert_eq!((&offer.commit, offer.continues), (&last, false), "its end is taken; what it continues is not known");
}

#[tokio::test]
async fn more_files_than_are_read_are_refused() {
    let remote = Remote::new();
    for name in ["a.yaml", "b.yaml", "c.yaml", "d.txt"] {
        remote.write(name, name);
    }
    let commit = remote.commit();
    let repository = remote.repository("max_files: 3");
    repository.fetch(None).await.unwrap();
    let is_yaml = |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "yaml");
    assert_eq!(repository.list(&commit, is_yaml).await.unwrap().len(), 3);
    let error = repository.list(&commit, |_| true).await.unwrap_err();
    assert!(matches!(error, Error::TooMuch { limit: 3, setting: "max_files", .. }), "{error}");
    let small = Repository::new(&remote.settings("max_bytes: 17"), &remote.path("copy")).unwrap();
    let files = small.list(&commit, is_yaml).await.unwrap();
    assert_eq!(small.read(&files[..2].iter().collect::<Vec<_>>()).await.unwrap().len(), 2);
    let error = small.read(&files.iter().collect::<Vec<_>>()).await.unwrap_err();
    assert!(matches!(error, Error::TooMuch { setting: "max_bytes", .. }), "{error}");
}

/// Four trees and one file of a few kilobytes, which are a hundred million files.
#[tokio::test]
async fn a_tree_that_unfolds_to_a_hundred_million_files_is_refused() {
    let remote = Remote::new();
    let blob = remote.feed(&["hash-object", "-w", "--stdin"], b"apiVersion: v1\nkind: Pod\n");
    let mut below = (0..100).map(|n| format!("100644 blob {blob}\tf{n}.yaml\n")).collect::<String>();
    let mut tree = String::new();
    for _ in 0..4 {
        tree = remote.feed(&["mktree"], below.as_bytes());
        below = (0..100).map(|n| format!("040000 tree {tree}\ta-directory-{n}\n")).collect();
    }
    let commit = remote.git(&["commit-tree", "-m", "A bomb", &tree]);
    remote.git(&["reset", "--quiet", "--soft", &commit]);
    let repository = remote.repository("");
    let offer = repository.fetch(None).await.unwrap();
    let began = tokio::time::Instant::now();
    let error = repository.list(&offer.commit, |_| true).await.unwrap_err();
    assert!(matches!(error, Error::TooMuch { setting: "path", .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn objects_that_are_malformed_are_refused_as_they_come() {
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    let blob = remote.git(&["rev-parse", "HEAD:a.yaml"]);
    let bytes =
        |hex: &str| (0..20).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect::<Vec<_>>();
    for name in ["..", ".git", "a/../../b"] {
        let mut tree = format!("100644 {name}\0").into_bytes();
        tree.extend(bytes(&blob));
        let tree = remote.feed(&["hash-object", "-w", "-t", "tree", "--literally", "--stdin"], &tree);
        let commit = remote.git(&["commit-tree", "-m", "Malformed", "-p", first.as_str(), &tree]);
        remote.git(&["update-ref", "refs/heads/main", &commit]);
        let error = remote.repository("").fetch(None).await.unwrap_err();
        assert!(error.to_string().contains("fsck"), "{name}: {error}");
    }
}

#[tokio::test]
async fn what_a_killed_command_left_is_no_obstacle_and_a_ruined_copy_is_made_anew() {
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    let repository = remote.repository("");
    repository.fetch(None).await.unwrap();
    repository.take(&first).await.unwrap();
    for lock in ["shallow.lock", "HEAD.lock", "config.lock", "refs/mesh/offered.lock", "objects/pack/tmp_pack_x"] {
        fs::write(remote.path("copy").join(lock), "").unwrap();
    }
    remote.write("a.yaml", "two");
    let second = remote.commit();
    let offer = repository.fetch(Some(&first)).await.unwrap();
    assert_eq!((&offer.commit, offer.continues), (&second, true));
    assert!(!remote.path("copy/objects/pack/tmp_pack_x").exists());
    for ruin in ["HEAD", "config", "shallow"] {
        fs::write(remote.path("copy").join(ruin), "\0ruined").unwrap();
        let offer = repository.fetch(Some(&first)).await.unwrap_or_else(|error| panic!("{ruin}: {error}"));
        assert_eq!(read(&repository, &offer.commit).await[0].1, "two", "{ruin}");
    }
}

#[tokio::test]
async fn a_remote_that_is_away_or_a_disk_that_is_full_is_an_error_and_the_next_look_succeeds() {
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    let repository = remote.repository("");
    fs::rename(remote.work(), remote.path("away")).unwrap();
    assert!(matches!(repository.fetch(None).await.unwrap_err(), Error::Git { .. }));
    fs::rename(remote.path("away"), remote.work()).unwrap();
    assert_eq!(repository.fetch(None).await.unwrap().commit, first);

    let mut noise = vec![0_u8; 1024 * 1024];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut noise).unwrap();
    remote.write("noise.bin", &noise);
    let second = remote.commit();
    // Writes fail after some blocks, as on a disk that is full.
    let full = remote.script("full", "trap '' XFSZ\nulimit -f 64\nexec git \"$@\"");
    let full =
        Repository::new(&remote.settings(&format!("program: '{}'", full.display())), &remote.path("copy")).unwrap();
    let error = full.fetch(Some(&first)).await.unwrap_err();
    assert!(matches!(error, Error::Git { what: "fetch", .. }), "{error}");
    let offer = repository.fetch(Some(&first)).await.unwrap();
    assert_eq!((&offer.commit, offer.continues), (&second, true));
    let nobody = Repository::new(&remote.settings("program: /nowhere/git"), &remote.path("copy")).unwrap();
    assert!(matches!(nobody.fetch(None).await.unwrap_err(), Error::Io { .. }));
}

#[tokio::test]
async fn a_daemon_of_git_is_followed() {
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut daemon = std::process::Command::new("git")
        .args(["daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", &format!("--port={port}")])
        .arg(format!("--base-path={}", remote.dir.path().display()))
        .process_group(0)
        .spawn()
        .unwrap();
    let settings = git(&format!("{{url: 'git://127.0.0.1:{port}/work', branch: main, plaintext: true}}"));
    let repository = Repository::new(&settings, &remote.path("copy")).unwrap();
    let mut offer = repository.fetch(None).await;
    for _ in 0..100 {
        if offer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        offer = repository.fetch(None).await;
    }
    assert_eq!(offer.unwrap().commit, first);
    remote.write("a.yaml", "two");
    let second = remote.commit();
    let offer = repository.fetch(Some(&first)).await.unwrap();
    assert_eq!((&offer.commit, offer.continues), (&second, true));
    let leader = rustix::process::Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(leader, rustix::process::Signal::KILL).unwrap();
    daemon.wait().unwrap();
    assert!(matches!(repository.fetch(Some(&second)).await.unwrap_err(), Error::Git { .. }));
}

#[tokio::test]
async fn ssh_gets_one_key_and_the_hosts_that_are_known_and_nothing_else() {
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    fs::create_dir(remote.path("bin")).unwrap();
    // In the place of ssh: notes what it is told, and runs the command here.
    let words = "printf '%s\\n' \"$@\" > \"$0.words\"\nfor last; do :; done\nexec sh -c \"$last\"";
    remote.script("bin/ssh", words);
    let program = format!("export PATH='{}':\"$PATH\"\nexec git \"$@\"", remote.path("bin").display());
    let program = remote.script("program", &program);
    let settings = git(&format!(
        "{{url: 'git@mesh.example:{}', branch: main, program: '{}', ssh_key: /etc/mesh/key, known_hosts: /etc/mesh/hosts}}",
        remote.work().display(),
        program.display()
    ));
    let repository = Repository::new(&settings, &remote.path("copy")).unwrap();
    assert_eq!(repository.fetch(None).await.unwrap().commit, first);
    let words = fs::read_to_string(remote.path("bin/ssh.words")).unwrap();
    let words: Vec<_> = words.lines().collect();
    assert!(words.windows(2).any(|pair| pair == ["-i", "/etc/mesh/key"]), "{words:?}");
    assert!(words.windows(2).any(|pair| pair == ["-F", "none"]), "{words:?}");
    for option in
        ["BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/etc/mesh/hosts", "IdentityAgent=none"]
    {
        assert!(words.contains(&option), "{option}: {words:?}");
    }
}

#[tokio::test]
async fn secrets_stand_in_no_command_line_and_our_environment_is_not_handed_on() {
    let remote = Remote::new();
    fs::write(remote.path("token"), "s3cret-token\n").unwrap();
    let noted = remote.path("noted");
    let script =
        format!("printf '%s\\n' \"$@\" >> '{0}.words'\nenv >> '{0}.environment'\nexec git \"$@\"", noted.display());
    let program = remote.script("program", &script);
    let settings = git(&format!(
        "{{url: 'https://127.0.0.1:1/x', branch: main, program: '{}', token_file: '{}'}}",
        program.display(),
        remote.path("token").display()
    ));
    let repository = Repository::new(&settings, &remote.path("copy")).unwrap();
    let error = repository.fetch(None).await.unwrap_err();
    let told = format!("{error} {error:?} {repository:?} {settings:?}");
    let words = fs::read_to_string(remote.path("noted.words")).unwrap();
    assert!(words.contains("https://127.0.0.1:1/x"));
    // `git:s3cret-token` in base 64.
    for secret in ["s3cret", "Z2l0OnMzY3JldC10b2tlbg=="] {
        assert!(!words.contains(secret) && !told.contains(secret), "{words} {told}");
    }
    let environment = fs::read_to_string(remote.path("noted.environment")).unwrap();
    assert!(environment.contains("Basic Z2l0OnMzY3JldC10b2tlbg=="));
    assert!(!environment.contains("CARGO"), "{environment}");
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let cases = [
        ("{url: 'ext::sh -c id', branch: main}", "url"),
        ("{url: 'ext::sh', branch: main}", "url"),
        ("{url: 'http://mesh.example/x', branch: main}", "plaintext"),
        ("{url: 'git://mesh.example/x', branch: main}", "plaintext"),
        ("{url: 'https://user:password@mesh.example/x', branch: main}", "token_file"),
        ("{url: 'https:///x', branch: main}", "host"),
        ("{url: 'ssh://-oProxyCommand=id/x', branch: main, ssh_key: a, known_hosts: b}", "host"),
        ("{url: '-oProxyCommand=id:x', branch: main, ssh_key: a, known_hosts: b}", "host"),
        ("{url: 'git@mesh.example:x', branch: main}", "ssh_key"),
        ("{url: 'git@mesh.example:x', branch: main, ssh_key: 'a b', known_hosts: b}", "ssh_key"),
        ("{url: 'git@mesh.example:x', branch: main, ssh_key: a, known_hosts: '$(id)'}", "known_hosts"),
        ("{url: 'file://host/x', branch: main}", "file:///"),
        ("{url: 'https://mesh.example/x'}", "branch"),
        ("{url: 'https://mesh.example/x', branch: main, tag: v1}", "branch"),
        ("{url: 'https://mesh.example/x', branch: '--upload-pack=id'}", "branch"),
        ("{url: 'https://mesh.example/x', branch: 'a:b'}", "branch"),
        ("{url: 'https://mesh.example/x', tag: 'a..b'}", "tag"),
        ("{url: 'https://mesh.example/x', commit: abc123}", "commit"),
        ("{url: 'https://mesh.example/x', branch: main, path: ../x}", "path"),
        ("{url: 'https://mesh.example/x', branch: main, signed: {}}", "signed"),
        ("{url: 'https://mesh.example/x', branch: main, signed: {keyring: a, allowed_signers: b}}", "signed"),
        ("{url: 'https://mesh.example/x', branch: main, signed: {keyring: a, revoked_keys: b}}", "revoked_keys"),
        ("{url: 'file:///x', branch: main, token_file: a}", "token_file"),
    ];
    for (text, told) in cases {
        let error = Repository::new(&git(text), std::path::Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}
