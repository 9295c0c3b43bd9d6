//! Repositories behind real servers: git's own server for https, behind TLS and a password, and OpenSSH's.
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
use std::net::TcpListener as StdListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mesh_control_plane::source::git::{Error, Repository};
use mesh_test_support::pki::{Ca, Spec};
use support::{Remote, git, read};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const USER: &str = "mesh";
const PASSWORD: &str = "s3cret-password";

/// Git's server for https, which takes one name and one password.
struct Https {
    port: u16,
    root: PathBuf,
    /// How many requests came with the right password.
    let_in: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Https {
    /// Serves what is below a directory, with a certificate of an authority for a name.
    async fn serve(directory: &Path, authority: &Ca, name: &str) -> Self {
        let spec = Spec { uris: Vec::new(), dns: vec![name.to_owned()], ..Spec::new("") };
        let leaf = authority.leaf(&spec);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(leaf.chain, leaf.key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let root = directory.join(format!("root-{port}.pem"));
        fs::write(&root, mesh_identity::pem::encode_certificates(&[&authority.certificate])).unwrap();
        let let_in = Arc::new(AtomicUsize::new(0));
        let (directory, counted) = (directory.to_owned(), Arc::clone(&let_in));
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, directory, counted) = (acceptor.clone(), directory.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    // Who does not trust the certificate ends here.
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| answer(directory.clone(), Arc::clone(&counted), request));
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
                });
            }
        });
        Self { port, root, let_in, task }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    fn let_in(&self) -> usize {
        self.let_in.load(Ordering::SeqCst)
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn refused(status: StatusCode, headers: &[(header::HeaderName, &str)]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().insert(name.clone(), value.parse().unwrap());
    }
    response
}

async fn answer(
    directory: PathBuf,
    let_in: Arc<AtomicUsize>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    if head.headers.get(header::AUTHORIZATION).is_none_or(|given| given.as_bytes() != expected.as_bytes()) {
        return Ok(refused(StatusCode::UNAUTHORIZED, &[(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")]));
    }
    let_in.fetch_add(1, Ordering::SeqCst);
    // A place that has moved.
    if let Some(rest) = head.uri.path().strip_prefix("/moved/") {
        let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return Ok(refused(StatusCode::MOVED_PERMANENTLY, &[(header::LOCATION, &format!("/work/{rest}{query}"))]));
    }
    let text = |headers: &HeaderMap, name: &str| {
        headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", &directory)
        .env("GIT_PROJECT_ROOT", &directory)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", text(&head.headers, "content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text(&head.headers, "content-encoding"))
        .env("GIT_PROTOCOL", text(&head.headers, "git-protocol"))
        .env("REMOTE_USER", USER)
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = tokio::spawn(async move {
        let _ = stdin.write_all(&body).await;
    });
    let printed = child.wait_with_output().await.unwrap().stdout;
    feed.await.unwrap();
    let end = printed.windows(4).position(|part| part == b"\r\n\r\n").expect("what a CGI program prints");
    let mut response = Response::new(Full::from(Bytes::copy_from_slice(&printed[end + 4..])));
    for line in std::str::from_utf8(&printed[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "status" => *response.status_mut() = value[..3].parse().unwrap(),
            name => {
                let name: header::HeaderName = name.parse().unwrap();
                response.headers_mut().append(name, value.parse().unwrap());
            }
        }
    }
    Ok(response)
}

/// Whether git can serve and be asked over https here.
fn has_https() -> bool {
    let path = Command::new("git").arg("--exec-path").output().unwrap().stdout;
    let path = PathBuf::from(String::from_utf8(path).unwrap().trim());
    let is_there = ["git-http-backend", "git-remote-https"].iter().all(|name| path.join(name).exists());
    if !is_there {
        eprintln!("SKIPPED: git of this machine has no https");
    }
    is_there
}

/// A repository over https, with a file of its password.
fn over_https(remote: &Remote, url: &str, roots: Option<&Path>, password: &str, more: &str) -> Repository {
    let token = remote.path("token");
    fs::write(&token, format!("{password}\n")).unwrap();
    let roots = roots.map(|roots| format!("roots: '{}', ", roots.display())).unwrap_or_default();
    let settings = git(&format!(
        "{{url: '{url}', branch: main, username: {USER}, token_file: '{}', {roots}{more}}}",
        token.display()
    ));
    Repository::new(&settings, &remote.path("copy")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_the_password_and_the_root_decide() {
    if !has_https() {
        return;
    }
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    let (authority, foreign) = (Ca::root("git.test"), Ca::root("evil.test"));
    let server = Https::serve(remote.dir.path(), &authority, "localhost").await;
    let stranger = Https::serve(remote.dir.path(), &authority, "another.test").await;
    fs::write(remote.path("foreign.pem"), mesh_identity::pem::encode_certificates(&[&foreign.certificate])).unwrap();
    let url = server.url("work/.git");

    for (what, url, roots, password, told) in [
        (
            "another password",
            &url,
            Some(server.root.clone()),
            "wrong-password",
            "does not take those of `username` and `token_file`",
        ),
        ("another root", &url, Some(remote.path("foreign.pem")), PASSWORD, "certificate"),
        ("the roots of the machine", &url, None, PASSWORD, "certificate"),
        ("another name", &stranger.url("work/.git"), Some(server.root.clone()), PASSWORD, "certificate"),
        ("no roots file", &url, Some(remote.path("nowhere.pem")), PASSWORD, "CA cert"),
    ] {
        let error = over_https(&remote, url, roots.as_deref(), password, "").fetch(None).await.unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, Error::Git { .. }) && said.contains(told), "{what}: {said}");
        assert!(!said.contains(password) && !said.contains(&STANDARD.encode(format!("{USER}:{password}"))), "{said}");
    }
    assert_eq!(
        (server.let_in(), stranger.let_in()),
        (0, 0),
        "nobody was shown the password who could not prove to be the host"
    );

    let repository = over_https(&remote, &url, Some(&server.root), PASSWORD, "");
    assert_eq!(repository.fetch(None).await.unwrap().commit, first);
    assert_eq!(read(&repository, &first).await, [("a.yaml".to_owned(), "one".to_owned())]);
    repository.take(&first).await.unwrap();
    remote.write("a.yaml", "two");
    let second = remote.commit();
    let offer = repository.fetch(Some(&first)).await.unwrap();
    assert_eq!((&offer.commit, offer.continues), (&second, true));

    // Another password from now on, and then the right one again: the file is read each time.
    fs::write(remote.path("token"), "expired").unwrap();
    assert!(
        repository
            .fetch(Some(&second))
            .await
            .unwrap_err()
            .to_string()
            .contains("does not take those of `username` and `token_file`")
    );
    fs::write(remote.path("token"), PASSWORD).unwrap();
    assert_eq!(repository.fetch(Some(&second)).await.unwrap().commit, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_another_history_too_much_and_a_redirect_are_told() {
    if !has_https() {
        return;
    }
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    remote.write("a.yaml", "two");
    let second = remote.commit();
    let server = Https::serve(remote.dir.path(), &Ca::root("git.test"), "localhost").await;
    let (url, roots) = (server.url("work/.git"), Some(server.root.as_path()));

    let moved = over_https(&remote, &server.url("moved/.git"), roots, PASSWORD, "").fetch(None).await.unwrap_err();
    assert!(matches!(&moved, Error::Git { said, .. } if said.contains("301")), "{moved}");

    let accepting = over_https(&remote, &url, roots, PASSWORD, "");
    assert_eq!(accepting.fetch(None).await.unwrap().commit, second);
    accepting.take(&second).await.unwrap();
    remote.git(&["reset", "--quiet", "--hard", first.as_str()]);
    remote.write("a.yaml", "another two");
    let other = remote.commit();
    let offer = accepting.fetch(Some(&second)).await.unwrap();
    assert_eq!((&offer.commit, offer.continues), (&other, false));
    let refusing = over_https(&remote, &url, roots, PASSWORD, "rewrites: refuse");
    let refused = refusing.fetch(Some(&second)).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Rewritten { offered, in_force } if (offered, in_force) == (&other, &second)),
        "{refused}"
    );

    let mut noise = vec![0_u8; 3 * 1024 * 1024];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut noise).unwrap();
    remote.write("noise.bin", &noise);
    remote.commit();
    fs::remove_dir_all(remote.path("copy")).unwrap();
    let small = over_https(&remote, &url, roots, PASSWORD, "max_bytes: 1000000");
    let error = small.fetch(None).await.unwrap_err();
    assert!(matches!(error, Error::TooMuch { setting: "max_bytes", .. }), "{error}");
}

/// OpenSSH's server, for ourselves only.
struct Sshd {
    child: Child,
    port: u16,
}

impl Sshd {
    /// With a host key and the public keys that are let in. `None`, and a word about it, where there is no sshd that runs.
    async fn serve(remote: &Remote, host_key: &str, authorized: &str) -> Option<Self> {
        let places = std::env::var_os("PATH").unwrap();
        let places = std::env::split_paths(&places).chain([PathBuf::from("/usr/sbin")]);
        let Some(program) = places.map(|place| place.join("sshd")).find(|program| program.exists()) else {
            eprintln!("SKIPPED: there is no sshd on this machine");
            return None;
        };
        let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = remote.path("sshd_config");
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             PidFile none\nX11Forwarding no\n",
            remote.path(host_key).display(),
            remote.path(authorized).display(),
        );
        fs::write(&config, text).unwrap();
        let tried = Command::new(&program).arg("-t").arg("-f").arg(&config).output().unwrap();
        if !tried.status.success() {
            eprintln!("SKIPPED: sshd cannot run here: {}", String::from_utf8_lossy(&tried.stderr));
            return None;
        }
        let log = fs::File::create(remote.path("sshd.log")).unwrap();
        let child = Command::new(program).args(["-D", "-e", "-f"]).arg(&config).stderr(log).spawn();
        let server = Self { child: child.unwrap(), port };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("sshd does not listen: {}", fs::read_to_string(remote.path("sshd.log")).unwrap());
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a key pair, and gives the public one.
fn key(remote: &Remote, name: &str) -> String {
    let path = remote.path(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status().unwrap();
    assert!(made.success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    public.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ssh_the_deploy_key_and_the_known_host_decide() {
    let remote = Remote::new();
    remote.write("a.yaml", "one");
    let first = remote.commit();
    let [host, another_host, deploy, _stranger] =
        ["host", "another-host", "deploy", "stranger"].map(|name| key(&remote, name));
    fs::write(remote.path("authorized"), format!("restrict {deploy}\n")).unwrap();
    let Some(server) = Sshd::serve(&remote, "host", "authorized").await else { return };
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let url = format!(
        "ssh://{}@127.0.0.1:{}{}",
        String::from_utf8(user).unwrap().trim(),
        server.port,
        remote.work().display()
    );
    let place = format!("[127.0.0.1]:{}", server.port);
    fs::write(remote.path("known"), format!("{place} {host}\n")).unwrap();
    fs::write(remote.path("known-as-another"), format!("{place} {another_host}\n")).unwrap();
    fs::write(remote.path("known-elsewhere"), format!("[127.0.0.1]:1 {host}\n")).unwrap();
    let with = |key: &str, known: &str| {
        let settings = git(&format!(
            "{{url: '{url}', branch: main, ssh_key: '{}', known_hosts: '{}', time_limit_seconds: 30}}",
            remote.path(key).display(),
            remote.path(known).display()
        ));
        Repository::new(&settings, &remote.path("copy")).unwrap()
    };
    for (what, key, known, told) in [
        ("another host key than the known one", "deploy", "known-as-another", "Host key verification failed"),
        ("a host that is not known", "deploy", "known-elsewhere", "Host key verification failed"),
        ("no file of known hosts", "deploy", "nowhere", "Host key verification failed"),
        ("a key that is not let in", "stranger", "known", "Permission denied"),
        ("no key", "nobody", "known", "Permission denied"),
    ] {
        let error = with(key, known).fetch(None).await.unwrap_err();
        assert!(matches!(&error, Error::Git { said, .. } if said.contains(told)), "{what}: {error}");
    }
    assert!(!remote.path("nowhere").exists(), "nothing becomes known by itself");

    let repository = with("deploy", "known");
    assert_eq!(repository.fetch(None).await.unwrap().commit, first);
    repository.take(&first).await.unwrap();
    remote.write("a.yaml", "two");
    let second = remote.commit();
    let offer = repository.fetch(Some(&first)).await.unwrap();
    assert_eq!((&offer.commit, offer.continues), (&second, true));
    assert_eq!(read(&repository, &second).await, [("a.yaml".to_owned(), "two".to_owned())]);
}
