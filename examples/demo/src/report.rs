//! One line per step while it happens, a table at the end.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::Error;
use crate::scene::Scene;

/// Collects what was shown.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
    started: Instant,
}

#[derive(Debug)]
struct Row {
    step: &'static str,
    detail: String,
    took: Duration,
    shown: bool,
}

impl Report {
    /// An empty report.
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), started: now() }
    }

    /// Plays a step: a spinner while it runs, one line when it is over. A step that fails ends the demo.
    pub(crate) async fn step(
        &mut self,
        step: &'static str,
        play: impl Future<Output = Result<String, Error>>,
    ) -> Result<(), Error> {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(step);
            bar.set_style(ProgressStyle::default_spinner());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let begun = now();
        let outcome = play.await;
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        let took = begun.elapsed();
        let (shown, detail, result) = match outcome {
            Ok(detail) => (true, detail, Ok(())),
            Err(error) => (false, error.to_string(), Err(format!("step \"{step}\": {error}").into())),
        };
        line(&format!("{} {step}: {detail}", if shown { "✔" } else { "✘" }));
        self.rows.push(Row { step, detail, took, shown });
        result
    }

    /// Prints the table.
    pub(crate) fn finish(&self) {
        let width = self.rows.iter().map(|row| row.step.chars().count()).max().unwrap_or(0);
        line("");
        line(&format!("{:<width$}  result  {:>6}  what was seen", "step", "time"));
        for row in &self.rows {
            let result = if row.shown { "shown" } else { "MISSED" };
            line(&format!("{:<width$}  {result:<6}  {:>5.1}s  {}", row.step, row.took.as_secs_f64(), row.detail));
        }
        let shown = self.rows.iter().filter(|row| row.shown).count();
        let missed = self.rows.len() - shown;
        line(&format!("\n{shown} steps shown, {missed} missed, {:.1} s in all", self.started.elapsed().as_secs_f64()));
    }

    /// Prints the end of every log, after a failure.
    pub(crate) fn logs(&self, scene: &Scene) {
        for process in ["control-plane", "node-a", "node-b", "catalog", "checkout"] {
            let Ok(text) = std::fs::read_to_string(scene.log(process)) else { continue };
            let lines: Vec<_> = text.lines().collect();
            line(&format!("\n--- {process}, last lines of its log"));
            lines.iter().skip(lines.len().saturating_sub(15)).for_each(|text| line(text));
        }
    }
}

/// Prints a line for the person who watches. A closed pipe is no reason to stop half-way.
pub(crate) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The time that a person sees pass.
fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "how long a step took on the wall clock, shown to a person")]
    Instant::now()
}
