//! A waypoint as a process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

/// How long a program may take to listen on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// A program that ends with the test.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program that is to listen somewhere, and waits until it does.
    pub async fn start(command: &mut Command, log: PathBuf, at: SocketAddr) -> Self {
        let child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut process = Self { child, log };
        let listening = async {
            while TcpStream::connect(at).await.is_err() {
                assert!(process.child.try_wait().unwrap().is_none(), "{command:?} has ended");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(SOON, listening).await.expect("the program listens");
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
