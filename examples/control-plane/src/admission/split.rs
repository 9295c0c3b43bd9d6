//! The documents of a file.

/// A document of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// Its number in the file, counted from 1. Empty documents count.
    pub(super) number: u32,
    /// The line on which its text begins, counted from 1.
    pub(super) first: u64,
    /// The line of the first thing that it says.
    pub(super) line: u64,
    /// Its text, with its marker and directives.
    pub(super) text: &'a str,
}

/// The documents of a file that say something.
///
/// A marker at the beginning of a line ends whatever stands before it, block scalars and quoted texts too, so that lines are
/// enough to find documents: what is wrong in one does not touch the others.
pub(super) fn documents(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut part = Part { number: 1, ..Part::default() };
    let (mut line, mut at) = (0, 0);
    for one in text.split_inclusive('\n') {
        line += 1;
        let content = one.trim();
        if let Some(rest) = after_marker(one, "---") {
            // Directives belong to the document whose marker follows them.
            if part.directives && part.says.is_none() {
                part.directives = false;
            } else {
                let number = part.number + 1;
                part.end(text, at, &mut documents);
                part = Part { number, from: at, first: line, ..Part::default() };
            }
            if says_something(rest) {
                part.says = Some(line);
            }
            part.marked = true;
        } else if after_marker(one, "...").is_some() {
            let number = part.number + u32::from(part.marked || part.says.is_some());
            part.end(text, at, &mut documents);
            part = Part { number, from: at + one.len(), first: line + 1, ..Part::default() };
        } else if one.starts_with('%') && part.says.is_none() && !part.marked {
            part.directives = true;
        } else if part.says.is_none() && says_something(content) {
            part.says = Some(line);
        }
        at += one.len();
    }
    part.end(text, at, &mut documents);
    documents
}

/// A part of a file between two markers.
#[derive(Default)]
struct Part {
    number: u32,
    from: usize,
    first: u64,
    /// The line of the first thing that it says.
    says: Option<u64>,
    /// Whether it began with a marker.
    marked: bool,
    /// Whether it holds directives, and no marker has followed them yet.
    directives: bool,
}

impl Part {
    fn end<'a>(&self, text: &'a str, to: usize, documents: &mut Vec<Document<'a>>) {
        if let (Some(line), Some(text)) = (self.says, text.get(self.from..to)) {
            documents.push(Document { number: self.number, first: self.first.max(1), line, text });
        }
    }
}

/// What follows a marker that stands at the beginning of a line.
fn after_marker<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(marker)?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])).then(|| rest.trim())
}

fn says_something(content: &str) -> bool {
    !content.is_empty() && !content.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_stand_between_markers() {
        for (text, wanted) in [
            ("", vec![]),
            ("# a\n\n", vec![]),
            ("---\n---\n", vec![]),
            ("a: b", vec![(1, 1, "a: b")]),
            ("\u{feff}a: b\n", vec![(1, 1, "a: b\n")]),
            ("# c\n\na: b\n", vec![(1, 3, "# c\n\na: b\n")]),
            ("# c\n---\na: b\n", vec![(2, 3, "---\na: b\n")]),
            ("a: b\n---\n\nc: d\n", vec![(1, 1, "a: b\n"), (2, 4, "---\n\nc: d\n")]),
            ("a: b\r\n---\r\nc: d\r\n", vec![(1, 1, "a: b\r\n"), (2, 3, "---\r\nc: d\r\n")]),
            ("a: b\n--- # c\nc: d\n", vec![(1, 1, "a: b\n"), (2, 3, "--- # c\nc: d\n")]),
            ("--- {a: b}\n--- |\n c\n", vec![(2, 1, "--- {a: b}\n"), (3, 2, "--- |\n c\n")]),
            ("a: |\n  ---\n  b\n ---\n", vec![(1, 1, "a: |\n  ---\n  b\n ---\n")]),
            ("a: b\n---c\n", vec![(1, 1, "a: b\n---c\n")]),
            ("a: b\n...\n", vec![(1, 1, "a: b\n")]),
            ("a: b\n...\nc: d\n", vec![(1, 1, "a: b\n"), (2, 3, "c: d\n")]),
            ("%YAML 1.2\n---\na: b\n", vec![(1, 3, "%YAML 1.2\n---\na: b\n")]),
            ("a: b\n...\n# c\n%YAML 1.2\n---\nc: d\n", vec![(1, 1, "a: b\n"), (2, 6, "# c\n%YAML 1.2\n---\nc: d\n")]),
        ] {
            let found = documents(text);
            let found: Vec<_> = found.iter().map(|document| (document.number, document.line, document.text)).collect();
            assert_eq!(found, wanted, "{text:?}");
        }
    }
}
