//! The end of a process, as asked for from outside.

use tokio_util::sync::CancellationToken;

/// Waits for SIGTERM, SIGINT, or a token that others cancel (such as the admin endpoint's `/quitquitquit`).
///
/// # Errors
/// The signals cannot be listened to.
///
/// # Cancel safety
/// Safe.
pub async fn shutdown(token: &CancellationToken) -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = token.cancelled() => "quitquitquit",
        })
    }
    #[cfg(not(unix))]
    {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "ctrl-c"),
            () = token.cancelled() => Ok("quitquitquit"),
        }
    }
}
