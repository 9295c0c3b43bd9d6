//! Manifests with faults made at random: whatever comes of it is read or refused, located and translated without a panic.

use std::path::{Path, PathBuf};

use mesh_core::name::parse_trust_domain;

use crate::admission::check::whole;
use crate::admission::{locate, read_file};
use crate::source::dir;
use crate::translate::{Place, translate};
use crate::world::World;

/// How many files are made.
const RUNS: usize = 300;

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

fn seeds() -> Vec<String> {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    let of = |golden: &str| dir::read(&tests.join(golden)).unwrap();
    of("golden").into_iter().chain(of("golden-waypoint")).map(|file| file.text.unwrap()).collect()
}

fn mutated(text: &str, others: &[String], numbers: &mut Numbers) -> String {
    const TOKENS: [&str; 24] = [
        "[",
        "]",
        "{",
        "}",
        ": ",
        "&a ",
        "*a ",
        "- ",
        "|\n",
        ">",
        "#",
        "\n",
        "\t",
        "\"",
        "'",
        "---\n",
        "...\n",
        "~",
        "0x",
        "<<: ",
        "!!int ",
        "\u{0}",
        "-1",
        "99999999999999999999",
    ];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=numbers.below(4) {
        let (one, other) = (numbers.below(bytes.len()), numbers.below(bytes.len()));
        let (from, to) = (one.min(other), one.max(other).min(one.min(other) + 40));
        match numbers.below(4) {
            0 => drop(bytes.drain(from..to)),
            1 => drop(bytes.splice(from..from, TOKENS[numbers.below(TOKENS.len())].bytes())),
            2 => {
                let again = bytes[from..to].to_vec();
                drop(bytes.splice(to..to, again));
            }
            _ => {
                let other = others[numbers.below(others.len())].as_bytes();
                let start = numbers.below(other.len());
                let piece = other[start..].iter().take(60).copied().collect::<Vec<_>>();
                drop(bytes.splice(from..to, piece));
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn whatever_is_written_is_read_or_refused() {
    let place = Place::new(parse_trust_domain("cluster.local").unwrap(), "c1");
    let (seeds, mut numbers, mut good) = (seeds(), Numbers(7), 0);
    for run in 0..RUNS {
        let text = mutated(&seeds[run % seeds.len()], &seeds, &mut numbers);
        let read = read_file(&"".into(), Path::new("a.yaml"), &text);
        let lines = text.lines().count() as u64 + 1;
        for finding in &read.findings {
            assert!((1..=lines).contains(&finding.origin.line), "{finding} of {lines} lines: {text}");
        }
        let mut world = World::default();
        good += read.objects.len();
        for object in read.objects {
            world.put(object.origin, object.digest, object.object);
        }
        let mut findings = whole(&world);
        locate(&text, &mut findings);
        let _ = translate(&world, &place);
    }
    assert!(good > RUNS, "{good} objects of {RUNS} files: nothing was reached by the faults");
}
