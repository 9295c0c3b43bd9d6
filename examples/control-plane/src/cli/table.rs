//! Tables for people: columns as wide as what stands in them.

use std::fmt;

/// Rows under headings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// What is said when there is no row.
    empty: &'static str,
}

impl Table {
    pub(super) fn new(headings: &[&'static str], empty: &'static str) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new(), empty }
    }

    /// Adds a row. What is empty is shown as `-`; what would break the table is shown as a blank.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cell = |cell: String| match cell.trim() {
            "" => "-".to_owned(),
            // A peer chooses what it calls itself: it is not to write over the terminal.
            text => text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect(),
        };
        let mut cells: Vec<String> = cells.into_iter().map(cell).collect();
        cells.resize(self.headings.len(), "-".to_owned());
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "{}", self.empty);
        }
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(self.headings.get(column).map(|heading| heading.len())).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let headings = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let mut table = Table::new(&["NAME", "N"], "nobody is connected");
        assert_eq!(table.to_string(), "nobody is connected\n");
        table.row(["größer".to_owned(), "1".to_owned()]);
        table.row(["a\u{1b}[31m\nb".to_owned()]);
        table.row([String::new(), "22".to_owned()]);
        assert_eq!(table.to_string(), "NAME      N\ngrößer    1\na [31m b  -\n-         22\n");
    }
}
