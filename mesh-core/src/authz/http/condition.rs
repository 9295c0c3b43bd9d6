//! Values of a field as one condition.

use super::policy::Values;
use super::problem::Unusable;
use crate::authz::rbac::Tree;
use crate::name::Text;

/// What is done about values that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lenience {
    /// The rule is dropped: it allows.
    Drop,
    /// The rule is widened: it denies, logs, or has somebody asked.
    Widen,
}

/// The rule is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped;

/// Collects the conditions of a source or of an operation, all of which must hold.
pub(super) struct Conditions<'p, T> {
    lenience: Lenience,
    conditions: Vec<T>,
    refuse: &'p mut dyn FnMut(String, Unusable),
}

impl<'p, T: Tree> Conditions<'p, T> {
    /// None, yet. What cannot be used is told to `refuse`, with the field's name.
    pub(super) fn new(lenience: Lenience, refuse: &'p mut dyn FnMut(String, Unusable)) -> Self {
        Self { lenience, conditions: Vec::new(), refuse }
    }

    /// Adds the values of a field.
    pub(super) fn add(
        &mut self,
        field: &str,
        Values { any_of, none_of }: &Values,
        mut one: impl FnMut(&str) -> Result<T, Unusable>,
    ) -> Result<(), Dropped> {
        let not_field = not(field);
        let (wanted, all_usable) = self.usable(field, any_of, &mut one)?;
        let (unwanted, _) = self.usable(&not_field, none_of, &mut one)?;
        // A value that means nothing could have meant anything: then anything is wanted. One that is not wanted and means
        // nothing excepts nothing.
        if all_usable && !wanted.is_empty() {
            self.conditions.push(alone_or(wanted, T::or));
        }
        if !unwanted.is_empty() {
            self.conditions.push(T::not(alone_or(unwanted, T::or)));
        }
        Ok(())
    }

    /// Tells of something that cannot be used; a condition less.
    pub(super) fn refuse(&mut self, field: String, reason: Unusable) -> Result<(), Dropped> {
        (self.refuse)(field, reason);
        match self.lenience {
            Lenience::Drop => Err(Dropped),
            Lenience::Widen => Ok(()),
        }
    }

    /// All of them as one.
    pub(super) fn finish(self) -> T {
        match self.conditions.is_empty() {
            true => T::any(),
            false => alone_or(self.conditions, T::and),
        }
    }

    /// The values that can be used, and whether these are all.
    fn usable(
        &mut self,
        field: &str,
        values: &[Text],
        one: &mut impl FnMut(&str) -> Result<T, Unusable>,
    ) -> Result<(Vec<T>, bool), Dropped> {
        let mut usable = Vec::with_capacity(values.len());
        for (at, value) in values.iter().enumerate() {
            match one(value.as_str()) {
                Ok(condition) => usable.push(condition),
                Err(reason) => self.refuse(format!("{field}[{at}]"), reason)?,
            }
        }
        let all_usable = usable.len() == values.len();
        Ok((usable, all_usable))
    }
}

/// The only one of some, or all of them put together.
fn alone_or<T>(mut some: Vec<T>, together: impl FnOnce(Vec<T>) -> T) -> T {
    match some.len() {
        1 => some.remove(0),
        _ => together(some),
    }
}

/// `values` to `notValues`.
fn not(field: &str) -> String {
    let (path, name) = field.rsplit_once('.').unwrap_or(("", field));
    let dot = if path.is_empty() { "" } else { "." };
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{path}{dot}not{}{}", first.map(String::from).unwrap_or_default(), letters.as_str())
}
