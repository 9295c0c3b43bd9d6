use mesh_core::balance::{ProbeResult, TcpProbe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::target::Connecting;

/// More is not waited for.
const ANSWER_BYTES: usize = 64 * 1024;

/// Connects, sends bytes, and judges what comes back. Each probe has a connection of its own: where a protocol begins with
/// a greeting, only a new one has it.
pub(super) async fn probe(connecting: Connecting, probe: &TcpProbe) -> ProbeResult {
    let Some(mut io) = connecting.await else { return ProbeResult::Unreachable };
    if !probe.send.is_empty() && (io.write_all(&probe.send).await.is_err() || io.flush().await.is_err()) {
        return ProbeResult::Unreachable;
    }
    if probe.receive.is_empty() {
        return ProbeResult::Passed;
    }
    let mut received = Vec::new();
    loop {
        match io.read_buf(&mut received).await {
            Ok(0) | Err(_) => return ProbeResult::Unreachable,
            Ok(_) => {}
        }
        if let Some(result) = probe.judge(&received) {
            return result;
        }
        if received.len() >= ANSWER_BYTES {
            return ProbeResult::Failed;
        }
    }
}
