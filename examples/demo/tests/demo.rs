//! The demo from outside: it shows everything, and what is killed comes back.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

#[test]
fn shows_everything_it_promises() {
    let output = Command::new(DEMO).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("10 steps shown, 0 missed"), "{text}");
}

/// A demo that was told to keep running.
struct Kept {
    demo: Child,
    frontend: SocketAddr,
    batch: SocketAddr,
    processes: Vec<(String, u32)>,
    lines: BufReader<std::process::ChildStdout>,
}

impl Kept {
    fn start() -> Self {
        let mut demo = Command::new(DEMO).arg("--keep").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap());
        let (mut proxies, mut processes) = (Vec::new(), Vec::new());
        let mut told = String::new();
        loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the demo ended: {told}");
            told.push_str(&line);
            if let Some(rest) = line.trim().strip_prefix("curl --proxy socks5h://") {
                proxies.push(rest.split(' ').next().unwrap().parse().unwrap());
            } else if let Some(rest) = line.trim().strip_prefix("kill -9 ") {
                let mut words = rest.split_whitespace();
                let pid = words.next().unwrap().parse().unwrap();
                processes.push((words.next().unwrap().to_owned(), pid));
            } else if line.starts_with("Ctrl-C") {
                break;
            }
        }
        Self { demo, frontend: proxies[0], batch: proxies[2], processes, lines }
    }

    /// One HTTP request through the mesh to the catalog, by its VIP.
    fn call(socks: SocketAddr) -> Result<String, String> {
        let told = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect_timeout(&socks, Duration::from_secs(2)).map_err(told)?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(&[5, 1, 0, 5, 1, 0, 1, 10, 96, 7, 1, 0, 80]).map_err(told)?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).map_err(told)?;
        if answer[3] != 0 {
            return Err(format!("SOCKS5 reply {}", answer[3]));
        }
        stream.write_all(b"GET / HTTP/1.1\r\nhost: catalog\r\nconnection: close\r\n\r\n").map_err(told)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map_err(told)?;
        text.ends_with("hello from catalog").then_some(text.clone()).ok_or(text)
    }

    fn recovers(&self, killed: &str) {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            match Self::call(self.frontend) {
                Ok(_) => break,
                Err(error) => assert!(Instant::now() < end, "after {killed} was killed: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(Self::call(self.batch).is_err(), "after {killed} was killed the batch job got through");
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.demo.kill();
        let _ = self.demo.wait();
    }
}

#[test]
fn whatever_is_killed_comes_back() {
    let mut kept = Kept::start();
    kept.recovers("nothing");
    for (name, pid) in kept.processes.clone() {
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(killed.success());
        if name == "control-plane" || name == "checkout" {
            assert!(Kept::call(kept.frontend).is_ok(), "{name} is not on the path, and calls go on without it");
        }
        // Told by the demo when it starts the process again.
        let mut line = String::new();
        kept.lines.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), format!("{name} ended; starting it again"));
        kept.recovers(&name);
    }
}
