//! Reports for people.

use std::fmt::{self, Write};

use super::effect::Effect;
use super::report::Report;
use super::shift::Change;

/// Lines for a terminal.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.effects.is_empty() {
            f.write_str("no effect on traffic\n")?;
        }
        for change in Change::ALL {
            let mut of_kind = self.of(change).peekable();
            if of_kind.peek().is_none() {
                continue;
            }
            writeln!(f, "{}", title(change).to_uppercase())?;
            for effect in of_kind {
                writeln!(f, "  {}", line(effect))?;
                for request in &effect.requests {
                    writeln!(f, "    requests: {request}")?;
                }
                for detail in &effect.details {
                    writeln!(f, "    {detail}")?;
                }
            }
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

impl Report {
    /// A comment for a pull request, in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        if self.effects.is_empty() {
            text.push_str("**No effect on traffic.**\n");
        } else {
            let counts: Vec<String> = Change::ALL
                .into_iter()
                .map(|change| (change, self.of(change).count()))
                .filter(|(_, count)| *count > 0)
                .map(|(change, count)| format!("{count} {}", title(change)))
                .collect();
            let _ = writeln!(text, "**What this does to traffic:** {}", counts.join(", "));
        }
        for change in Change::ALL {
            let of_kind: Vec<&Effect> = self.of(change).collect();
            if of_kind.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n### {}\n", capital(title(change)));
            for effect in of_kind {
                let _ = writeln!(text, "- {}", escaped(&line(effect)));
                for request in &effect.requests {
                    let _ = writeln!(text, "  - requests: {}", escaped(request));
                }
                for detail in &effect.details {
                    let _ = writeln!(text, "  - {}", escaped(detail));
                }
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n> {}", escaped(note));
        }
        text
    }
}

fn title(change: Change) -> &'static str {
    match change {
        Change::Opened => "opened access",
        Change::Lost => "lost access",
        Change::Moved => "moved traffic",
        Change::Other => "other changes",
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

fn line(effect: &Effect) -> String {
    let to = effect.to.join(", ");
    let ports = if effect.ports.is_empty() { String::new() } else { format!(" {}", effect.ports) };
    match effect.clients.as_slice() {
        [] => format!("{to}{ports}: {}", effect.summary),
        clients => format!("{} to {to}{ports}: {}", clients.join("; "), effect.summary),
    }
}

/// Stars and underscores of names are no emphasis, and no name is markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '_' | '`' | '<' | '>' | '[' | ']' | '|' | '\\' | '@' | '#') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
