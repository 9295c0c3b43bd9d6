use std::sync::Arc;

use parking_lot::Mutex;

use super::credentials::{Credentials, Secrets};
use super::error::ContextError;

/// What was made of secrets; it is made anew when they have changed.
pub(super) struct Kept<T>(Mutex<Option<(Arc<Secrets>, T)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Kept<T> {
    pub(super) fn get(
        &self,
        credentials: &Credentials,
        make: impl FnOnce(&Secrets) -> Result<T, ContextError>,
    ) -> Result<T, ContextError> {
        let secrets = credentials.secrets();
        let mut kept = self.0.lock();
        if let Some((of, made)) = &*kept
            && Arc::ptr_eq(of, &secrets)
        {
            return Ok(made.clone());
        }
        let made = make(&secrets)?;
        *kept = Some((secrets, made.clone()));
        Ok(made)
    }
}
