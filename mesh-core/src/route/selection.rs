use std::fmt;
use std::sync::Arc;

use super::{RouteTable, Selected};

/// A [`Selected`] that keeps its table: for requests that outlive the lookup.
#[derive(Clone)]
pub struct Selection {
    table: Arc<RouteTable>,
    at: Position,
}

/// Where something stands in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) host: usize,
    pub(super) route: usize,
    pub(super) weighted: Option<usize>,
}

impl Selection {
    pub(super) fn new(table: Arc<RouteTable>, at: Position) -> Self {
        Self { table, at }
    }

    /// What the table says about the request.
    #[must_use]
    pub fn selected(&self) -> Selected<'_> {
        self.table.at(self.at)
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }

    /// The number of the host and of the route in it: what tells the routes of one table from each other.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        (self.at.host, self.at.route)
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selection").field("table", &self.table.config().name).field("at", &self.at).finish()
    }
}
