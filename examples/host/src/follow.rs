//! Files that others replace.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Hands on what a file holds, at once if that is not `last`, and again whenever it has changed. The file is looked at every
/// `interval`; one that is not there is waited for, and told of once. What `take` refuses is told of once too, and is not
/// offered again before it has changed.
///
/// # Cancel safety
/// Safe; the file is followed no more.
pub async fn follow<E: Display>(
    path: PathBuf,
    mut last: Option<Vec<u8>>,
    interval: Duration,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) {
    let mut is_lost = false;
    loop {
        match tokio::fs::read(&path).await {
            Ok(content) => {
                is_lost = false;
                if last.as_ref() != Some(&content) {
                    offer(&path, &content, &mut take);
                    last = Some(content);
                }
            }
            Err(error) if !is_lost => {
                tracing::warn!(path = %path.display(), %error, "the file cannot be read; what was taken before stays in force");
                is_lost = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(interval).await;
    }
}

fn offer<E: Display>(path: &Path, content: &[u8], take: &mut impl FnMut(&[u8]) -> Result<(), E>) {
    match take(content) {
        Ok(()) => tracing::info!(path = %path.display(), "the file was read anew"),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the file is not taken; what was taken before stays in force");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_changed_is_taken_once_and_what_is_wrong_does_not_end_it() {
        let path = std::env::temp_dir().join(format!("mesh-host-follow-{}", std::process::id()));
        let (sender, mut taken) = tokio::sync::mpsc::channel(8);
        std::fs::write(&path, "known").unwrap();
        let take = move |content: &[u8]| {
            sender.try_send(content.to_vec()).unwrap();
            if content == b"bad" { Err("bad") } else { Ok(()) }
        };
        let following = follow(path.clone(), Some(b"known".to_vec()), Duration::from_millis(5), take);
        let changes = async {
            for text in ["new", "bad", "new", ""] {
                // Replaced whole, as a file that is followed should be.
                let scratch = path.with_extension("scratch");
                std::fs::write(&scratch, text).unwrap();
                std::fs::rename(&scratch, &path).unwrap();
                assert_eq!(taken.recv().await.unwrap(), text.as_bytes());
            }
            std::fs::remove_file(&path).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            std::fs::write(&path, "").unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(taken.try_recv().is_err(), "nothing is taken twice, and nothing is no content");
            std::fs::write(&path, "back").unwrap();
            assert_eq!(taken.recv().await.unwrap(), b"back");
        };
        tokio::select! {
            () = following => {}
            () = changes => {}
        }
        std::fs::remove_file(&path).unwrap();
    }
}
