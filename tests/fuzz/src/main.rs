//! Runs a fuzz target for some time. What it found is the last line it printed: the input in hexadecimal.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use mesh_fuzz::{TARGETS, fuzz, target};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (name, seconds) = (arguments.next().unwrap_or_default(), arguments.next());
    let seconds: u64 = seconds.and_then(|text| text.parse().ok()).unwrap_or(10);
    let Some(target) = target(&name) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        let _ = writeln!(std::io::stderr(), "usage: mesh-fuzz TARGET [SECONDS]\ntargets: {}", names.join(", "));
        return ExitCode::FAILURE;
    };
    let last = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let shown = std::sync::Arc::clone(&last);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        let input = shown.lock().map(|input| input.clone()).unwrap_or_default();
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(std::io::stderr(), "input: {hex}");
    }));
    let begun = tokio::time::Instant::now();
    let (mut rounds, mut seed) = (0, fastrand::u64(..));
    while begun.elapsed() < Duration::from_secs(seconds) {
        fuzz(target, seed, 10_000, |input| {
            if let Ok(mut last) = last.lock() {
                input.clone_into(&mut last);
            }
        });
        rounds += 10_000;
        seed = seed.wrapping_add(1);
    }
    let _ = writeln!(std::io::stdout(), "{name}: {rounds} inputs, nothing found");
    ExitCode::SUCCESS
}
