//! Wall time, read in one place.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::file;

/// Tells the wall time by which certificates are judged.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one reader of wall time")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// Whole seconds since 1970; 0 for what was before.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A clock that never shows less than it showed before, across restarts too.
///
/// A machine that boots in 1970, or whose time is set back, would take what has ended for valid again. Call
/// [`RatchetClock::save`] every minute or so.
#[derive(Debug)]
pub struct RatchetClock {
    inner: Arc<dyn Clock>,
    floor: Mutex<SystemTime>,
    path: PathBuf,
}

impl RatchetClock {
    /// A clock that begins at the time in a file, if there is one.
    ///
    /// # Errors
    /// [`file::Error`] when the file cannot be read or holds no time.
    pub fn open(inner: Arc<dyn Clock>, path: &Path) -> Result<Self, file::Error> {
        let floor = match file::read(path) {
            Ok(bytes) => {
                let seconds = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
                let time = seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
                time.ok_or_else(|| file::Error::malformed(path, "it holds no time"))?
            }
            Err(error) if error.is_not_found() => SystemTime::UNIX_EPOCH,
            Err(error) => return Err(error),
        };
        Ok(Self { inner, floor: Mutex::new(floor), path: path.to_owned() })
    }

    /// Keeps the time for the next start.
    ///
    /// # Errors
    /// [`file::Error`].
    pub fn save(&self) -> Result<(), file::Error> {
        file::replace(&self.path, seconds(self.now()).to_string().as_bytes(), file::Mode::Public)
    }
}

impl Clock for RatchetClock {
    fn now(&self) -> SystemTime {
        let mut floor = self.floor.lock();
        *floor = self.inner.now().max(*floor);
        *floor
    }
}

/// A clock that stands still until it is moved. For tests and simulations.
#[derive(Debug)]
pub struct ManualClock(Mutex<SystemTime>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.0.lock() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        *self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratchet_begins_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("time");
        let second = |n| SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        RatchetClock::open(Arc::new(ManualClock::new(second(500))), &path).unwrap().save().unwrap();
        let set_back = Arc::new(ManualClock::new(second(100)));
        let clock = RatchetClock::open(Arc::<ManualClock>::clone(&set_back), &path).unwrap();
        assert_eq!(clock.now(), second(500));
        set_back.advance(Duration::from_secs(401));
        assert_eq!(clock.now(), second(501));
        for bad in ["", "-1", "soon", "18446744073709551615", "9223372036854775808"] {
            std::fs::write(&path, bad).unwrap();
            assert!(RatchetClock::open(Arc::new(SystemClock), &path).is_err(), "{bad}");
        }
    }
}
