//! SOCKS5 handshakes: every form that is served, and whatever else a client may send.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use mesh_transport::proxy::socks5::{Error, accept};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn handshake(sent: &[u8]) -> (Result<String, Error>, Vec<u8>) {
    let (mut client, mut server) = tokio::io::duplex(4096);
    client.write_all(sent).await.unwrap();
    client.shutdown().await.unwrap();
    let accepted = accept(&mut server).await.map(|destination| destination.to_string());
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    (accepted, answer)
}

fn request(body: &[u8]) -> Vec<u8> {
    [&[5, 1, 0][..], body].concat()
}

#[tokio::test]
async fn what_is_served() {
    let name = [&[5, 1, 0, 3, 3][..], b"a.b", &[0, 80]].concat();
    let address_as_name = [&[5, 1, 0, 3, 8][..], b"10.0.0.1", &[0, 80]].concat();
    let v6 = [&[5, 1, 0, 4][..], &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], &[1, 187]].concat();
    for (body, wanted) in [
        (vec![5, 1, 0, 1, 10, 0, 0, 1, 0x1f, 0x90], "10.0.0.1:8080"),
        (v6, "[2001:db8::1]:443"),
        (name, "a.b:80"),
        (address_as_name, "10.0.0.1:80"),
    ] {
        let (accepted, answer) = handshake(&request(&body)).await;
        assert_eq!(accepted.unwrap(), wanted);
        assert_eq!(answer, [5, 0], "the answer to the request is for the caller to give");
    }
    let (accepted, _) = handshake(&[&[5, 3, 2, 1, 0][..], &[5, 1, 0, 1, 1, 2, 3, 4, 0, 9]].concat()).await;
    assert_eq!(accepted.unwrap(), "1.2.3.4:9", "one of several methods offered");
}

#[tokio::test]
async fn what_is_refused_and_how() {
    let reply = |code: u8| [&[5, 0][..], &[5, code, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    let (accepted, answer) = handshake(&[4, 1, 0, 80, 1, 2, 3, 4, 0]).await;
    assert!(matches!(accepted, Err(Error::Version(4))) && answer.is_empty());
    let (accepted, answer) = handshake(&[5, 1, 2]).await;
    assert!(matches!(accepted, Err(Error::Method)));
    assert_eq!(answer, [5, 0xff]);
    for (body, code) in [
        (vec![5, 2, 0, 1, 1, 2, 3, 4, 0, 80], 7),
        (vec![5, 3, 0, 1, 1, 2, 3, 4, 0, 80], 7),
        (vec![5, 1, 0, 9], 8),
        (vec![5, 1, 0, 1, 1, 2, 3, 4, 0, 0], 1),
        (vec![5, 1, 0, 3, 0, 0, 80], 1),
        ([&[5, 1, 0, 3, 3][..], b"a b", &[0, 80]].concat(), 1),
        ([&[5, 1, 0, 3, 3][..], b"*.b", &[0, 80]].concat(), 1),
    ] {
        let (accepted, answer) = handshake(&request(&body)).await;
        assert!(accepted.is_err(), "{body:?}");
        assert_eq!(answer, reply(code), "{body:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sent_ends_without_panic(sent in proptest::collection::vec(any::<u8>(), 0..600)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (accepted, answer) = runtime.block_on(handshake(&sent));
        prop_assert!(answer.len() <= 12);
        if accepted.is_ok() {
            prop_assert_eq!(sent[0], 5);
        }
    }

    #[test]
    fn a_good_request_cut_anywhere_is_refused(cut in 0_usize..13) {
        let whole = request(&[5, 1, 0, 1, 10, 0, 0, 1, 0, 80]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (accepted, _) = runtime.block_on(handshake(&whole[..cut]));
        prop_assert!(matches!(accepted, Err(Error::Io(_))));
    }
}
