use std::sync::atomic::{AtomicUsize, Ordering};

use mesh_identity::keys::Web;
use mesh_identity::limits::MAX_KEY_SET_BYTES;
use mesh_identity::pem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers each connection with one text, the last one for ever.
async fn server(answers: Vec<String>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let at = counted.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
            let mut request = [0; 2048];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
            let expected = format!("get /keys http/1.1\r\nhost: {}\r\n", listener.local_addr().unwrap());
            assert!(request.starts_with(&expected), "{request}");
            let _ = stream.write_all(answers[at].as_bytes()).await;
        }
    });
    (url, count)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn keys_come_over_http_and_rotate() {
    let (one, two) = (signer(Algorithm::ES256, "k1"), signer(Algorithm::RS256, "k2"));
    let answers = vec![
        answer("200 OK", &set(&[one.jwk()])),
        answer("500 Internal Server Error", "x"),
        answer("200 OK", &set(&[one.jwk(), two.jwk()])),
    ];
    let (url, count) = server(answers).await;
    // A password in an address is not for the server's ears.
    let url = url.replace("http://", "http://user:secret@");
    let verifier = TokenVerifier::fetching(clock(), Arc::new(Web::new()));
    // Every fetch after the first is due after a second.
    let keys = RemoteKeys { life: Duration::from_secs(1), ..RemoteKeys::at(url) };
    let keys = verifier.keys(&KeySource::Remote(keys));
    let first = verifier.read(&one.token(&header(Algorithm::ES256), &claims())).unwrap();
    let second = verifier.read(&two.token(&json!({"alg": "RS256", "kid": "k2"}), &claims())).unwrap();
    assert_eq!(verify(&keys, &first).await, Ok(()));
    assert_eq!(verify(&keys, &second).await, Err(Failure::UnknownKey));
    let rotated = async {
        while verify(&keys, &second).await.is_err() {
            assert_eq!(verify(&keys, &first).await, Ok(()), "also while fetches fail");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rotated).await.unwrap();
    assert_eq!(verify(&keys, &first).await, Ok(()));
    assert!(count.load(Ordering::Relaxed) >= 3);
}

#[tokio::test]
async fn a_server_that_misbehaves_gives_no_keys() {
    let signer = signer(Algorithm::ES256, "k1");
    let good = set(&[signer.jwk()]);
    let verifier = TokenVerifier::fetching(clock(), Arc::new(Web::new()));
    let token = verifier.read(&signer.token(&header(Algorithm::ES256), &claims())).unwrap();
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(MAX_KEY_SET_BYTES));
    for text in [
        answer("200 OK", &large),
        answer("200 OK", "keys"),
        answer("204 No Content", ""),
        format!("HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: {}\r\n\r\n{good}", good.len()),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{good}", good.len() + 1),
        "SSH-2.0\r\n".to_owned(),
        String::new(),
    ] {
        let (url, _) = server(vec![text.clone()]).await;
        let keys = verifier.keys(&KeySource::Remote(RemoteKeys::at(url)));
        assert_eq!(verify(&keys, &token).await, Err(Failure::KeysUnavailable), "{text:.60}");
    }
    let (url, _) = server(vec![answer("200 OK", &good)]).await;
    assert_eq!(verify(&verifier.keys(&KeySource::Remote(RemoteKeys::at(url))), &token).await, Ok(()));
}

#[tokio::test]
async fn keys_come_over_https_from_who_proves_to_be_the_host() {
    let signer = signer(Algorithm::EdDSA, "k1");
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = answer("200 OK", &set(&[signer.jwk()]));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 2048]).await;
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    let fetched = async |host: &str, roots: String| {
        let web = Web::with_roots(roots.as_bytes()).unwrap();
        let verifier = TokenVerifier::fetching(clock(), Arc::new(web));
        let token = verifier.read(&signer.token(&header(Algorithm::EdDSA), &claims())).unwrap();
        let keys = verifier.keys(&KeySource::Remote(RemoteKeys::at(format!("https://{host}:{port}/keys"))));
        verify(&keys, &token).await
    };
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    assert_eq!(fetched("localhost", pem::encode_certificates(&[certified.cert.der()])).await, Ok(()));
    assert_eq!(
        fetched("localhost", pem::encode_certificates(&[stranger.cert.der()])).await,
        Err(Failure::KeysUnavailable)
    );
    assert_eq!(
        fetched("127.0.0.1", pem::encode_certificates(&[certified.cert.der()])).await,
        Err(Failure::KeysUnavailable)
    );
}
