use std::net::IpAddr;

use proptest::prelude::*;

use crate::resolve::Destination;

#[test]
fn destinations() {
    for good in ["10.0.0.1:80", "[2001:db8::1]:80", "a.b:65535"] {
        assert_eq!(good.parse::<Destination>().unwrap().to_string(), good);
    }
    assert_eq!("[::ffff:10.0.0.1]:80".parse::<Destination>().unwrap().to_string(), "10.0.0.1:80");
    for bad in [
        "",
        ":",
        ":80",
        "a",
        "a:",
        "a:0",
        "a:+80",
        "a:65536",
        "a:80:90",
        "10.0.0.1",
        "10.0.0.1:x",
        "2001:db8::1",
        "[::1]",
        "[::1]80",
        "[::1:80",
        "[10.0.0.1]:80",
        "::1:80",
        "a b:80",
        "http://a:80",
        "a:80/",
        "*.a:80",
        "user@a:80",
    ] {
        assert!(bad.parse::<Destination>().is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn destination_round_trip(ip in any::<IpAddr>(), port in 1_u16..) {
        let destination = Destination::from(std::net::SocketAddr::new(ip, port));
        prop_assert_eq!(destination.to_string().parse::<Destination>().unwrap(), destination);
    }

    #[test]
    fn parsing_never_panics(text in ".{0,40}") {
        let _ = text.parse::<Destination>();
    }
}
