//! What trees of requirements say of a request, next to a model told naively.

use super::*;

/// The places of four issuers, `a` to `d`: two share one.
const PLACES: [(&str, &str); 4] = [("a", "x-1"), ("b", "x-1"), ("c", "x-2"), ("d", "x-3")];

/// What a request may bring at a place.
#[derive(Debug, Clone, Copy)]
enum Brought {
    Nothing,
    Good(usize),
    Forged(usize),
    Foreign,
}

/// What a requirement says of a request, told naively: the places are looked at again for each provider.
fn naive(requirement: &Requirement, brought: &[Brought; 3]) -> Result<(), Failure> {
    let place = |issuer: usize| PLACES[issuer].1[2..].parse::<usize>().unwrap() - 1;
    match requirement {
        Requirement::Nothing | Requirement::AllowMissingOrFailed => Ok(()),
        Requirement::Provider { name, .. } => {
            let at = PLACES.iter().position(|(issuer, _)| *name == *issuer).unwrap();
            match brought[place(at)] {
                Brought::Nothing => Err(Failure::Missing),
                Brought::Good(issuer) if issuer == at => Ok(()),
                Brought::Forged(issuer) if issuer == at => Err(Failure::Signature),
                _ => Err(Failure::Issuer),
            }
        }
        Requirement::All(list) => list.iter().try_for_each(|one| naive(one, brought)),
        Requirement::AllowMissing => brought.iter().enumerate().rev().try_for_each(|(at, one)| match one {
            Brought::Nothing => Ok(()),
            Brought::Good(issuer) | Brought::Forged(issuer) if place(*issuer) != at => Err(Failure::Issuer),
            Brought::Good(_) => Ok(()),
            Brought::Forged(_) => Err(Failure::Signature),
            Brought::Foreign => Err(Failure::Issuer),
        }),
        Requirement::Any(list) => {
            let lenient = |kind| list.contains(&kind);
            let strict: Vec<_> = list
                .iter()
                .filter(|one| !matches!(one, Requirement::AllowMissing | Requirement::AllowMissingOrFailed))
                .map(|one| naive(one, brought))
                .collect();
            if strict.contains(&Ok(())) || lenient(Requirement::AllowMissingOrFailed) {
                return Ok(());
            }
            if strict.is_empty() && lenient(Requirement::AllowMissing) {
                return naive(&Requirement::AllowMissing, brought);
            }
            let errors = || strict.iter().filter_map(|one| one.err());
            let worst = errors().rfind(|error| !matches!(error, Failure::Missing | Failure::Issuer));
            let issuer = errors().find(|error| *error == Failure::Issuer);
            match worst.or(issuer) {
                Some(error) => Err(error),
                None if lenient(Requirement::AllowMissing) => Ok(()),
                None => Err(Failure::Missing),
            }
        }
    }
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let leaf = prop_oneof![
        6 => (0..4usize).prop_map(|at| Requirement::provider(PLACES[at].0)),
        1 => Just(Requirement::Nothing),
        2 => Just(Requirement::AllowMissing),
        1 => Just(Requirement::AllowMissingOrFailed),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let list = || proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![list().prop_map(Requirement::Any), list().prop_map(Requirement::All)]
    })
}

fn brought() -> impl Strategy<Value = [Brought; 3]> {
    let one = || {
        prop_oneof![
            2 => Just(Brought::Nothing),
            4 => (0..4usize).prop_map(Brought::Good),
            1 => (0..4usize).prop_map(Brought::Forged),
            1 => Just(Brought::Foreign),
        ]
    };
    [one(), one(), one()]
}

/// What the filter says; `slow` are the providers whose keys must be waited for.
fn verdict(wanted: &Requirement, given: &[Brought; 3], slow: [bool; 4]) -> Option<String> {
    let providers = PLACES.iter().zip(slow).map(|((issuer, place), slow)| {
        let mut provider = of(issuer);
        provider.places.headers = vec![header(place, "")];
        provider.forward = true;
        if slow {
            provider.keys = KeySource::Remote(RemoteKeys::at(format!("k{issuer}")));
        }
        (*issuer, provider)
    });
    let filter = filter(config(providers, wanted.clone()));
    let mut request = head("/", &[]);
    for (at, one) in given.iter().enumerate() {
        let text = match one {
            Brought::Nothing => continue,
            Brought::Good(issuer) => good(PLACES[*issuer].0),
            Brought::Forged(issuer) => token(&json!({"iss": PLACES[*issuer].0}), "other"),
            Brought::Foreign => good("z"),
        };
        request.headers.insert(["x-1", "x-2", "x-3"][at], text.parse().unwrap());
    }
    let got = ask(&filter, &mut request, &mut exchange());
    got.err().map(|answer| String::from_utf8(answer.body.to_vec()).unwrap())
}

#[test]
fn lenience_of_one_alternative_is_none_of_those_beside_it() {
    use Requirement::{AllowMissing, AllowMissingOrFailed, Any};
    let wanted = |lenient| Any(vec![Requirement::provider("a"), Any(vec![lenient])]);
    let elsewhere = [Brought::Nothing, Brought::Good(0), Brought::Nothing];
    let verdict = |lenient, given| verdict(&wanted(lenient), given, [false; 4]);
    assert_eq!(verdict(AllowMissing, &elsewhere), Some(Failure::Issuer.to_string()));
    assert_eq!(verdict(AllowMissing, &[Brought::Nothing; 3]), None);
    assert_eq!(verdict(AllowMissingOrFailed, &elsewhere), None);
}

proptest! {
    #[test]
    fn a_tree_of_requirements_means_what_it_says(wanted in requirement(), given in brought(), slow in any::<[bool; 4]>()) {
        prop_assert_eq!(verdict(&wanted, &given, slow), naive(&wanted, &given).err().map(|failure| failure.to_string()));
    }
}
