use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use regorus::{Engine, Value};

use super::data::Data;
use super::files::PolicyFile;
use super::reads::Reads;
use super::{budget, calls, input, verdict};
use crate::admission::inventory::Inventory;
use crate::admission::judge::{Operation, Review};
use crate::finding::{Code, Finding, Origin, Severity};

/// The rules that are asked, and what they say.
const RULES: [(&str, Severity); 3] =
    [("deny", Severity::Error), ("violation", Severity::Error), ("warn", Severity::Warning)];

/// Policies that could be read, and the objects that they see beside the one in question.
#[derive(Clone)]
pub struct Policies {
    engine: Engine,
    rules: Vec<Rule>,
    /// Whether any looks at other objects.
    sees_others: bool,
    data: Data,
}

/// A rule that is asked.
#[derive(Debug, Clone)]
struct Rule {
    /// As `data.mesh.rules.deny`.
    path: String,
    severity: Severity,
    /// The files in which it stands.
    files: Vec<PathBuf>,
    /// Whether it is asked about objects that go.
    knows_deletions: bool,
}

impl Policies {
    /// Reads policies. They see no objects yet.
    ///
    /// # Errors
    /// What is wrong with any of them. Some policies are no good as long as others are bad: what they forbid together would be
    /// half forbidden.
    pub fn read(files: &[PolicyFile]) -> Result<Self, Vec<Finding>> {
        let mut engine = Engine::new();
        let mut faults = Vec::new();
        // An error in a built-in function makes undefined what asks it, as in OPA.
        engine.set_strict_builtin_errors(false);
        if let Err(reason) = budget::bound(&mut engine) {
            faults.push(fault(Path::new(""), &reason));
        }
        for file in files {
            if let Err(reason) = file.text.clone().and_then(|text| parse(&mut engine, &file.path, &text)) {
                faults.push(fault(&file.path, &reason));
            }
        }
        let mut rules = rules(&engine).unwrap_or_else(|reason| {
            faults.push(fault(Path::new(""), &reason));
            Vec::new()
        });
        let modules = calls::modules(&engine).unwrap_or_else(|| {
            faults.push(fault(Path::new(""), "the policies cannot be looked at"));
            Vec::new()
        });
        if faults.is_empty() {
            faults.extend(calls::unknown(&modules).into_iter().map(|(file, reason)| fault(Path::new(&file), &reason)));
        }
        let reads = Reads::of(&modules);
        for rule in &mut rules {
            rule.knows_deletions = rule.files.iter().any(|file| reads.knows_deletions(&file.display().to_string()));
        }
        let mut policies = Self { engine, rules, sees_others: reads.others, data: Data::new() };
        if faults.is_empty() {
            faults = policies.try_out();
        }
        if faults.is_empty() { Ok(policies) } else { Err(faults) }
    }

    /// How many rules are asked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether no rule is asked: everything is admitted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any of them looks at other objects than the one that is judged.
    #[must_use]
    pub fn sees_others(&self) -> bool {
        self.sees_others
    }

    /// Lets the policies see these objects in the place of those before.
    ///
    /// # Errors
    /// They cannot be seen: a policy stands where they are to stand.
    pub(super) fn see(&mut self, inventory: &Inventory) -> Result<(), String> {
        if !self.sees_others {
            return Ok(());
        }
        let Some(documents) = self.data.follow(inventory) else { return Ok(()) };
        self.engine.clear_data();
        self.engine.add_data(documents).map_err(|error| {
            // The next question tries again.
            self.data = Data::new();
            first_line(&error.to_string())
        })
    }

    /// What the rules say of an object.
    pub(super) fn judge(&mut self, review: &Review<'_>) -> Vec<Finding> {
        self.engine.set_input(Value::from(input::of(review)));
        let object = review.subject().to_string();
        let mut findings = Vec::new();
        let is_deletion = review.operation == Operation::Delete;
        for rule in self.rules.iter().filter(|rule| !is_deletion || rule.knows_deletions) {
            let asked = ask(&mut self.engine, rule);
            let said = |severity, code, message| Finding {
                code,
                object: object.clone(),
                ..review.origin.finding(severity, message)
            };
            match asked {
                Ok(messages) => findings.extend(messages.into_iter().map(|message| {
                    let code = match rule.severity {
                        Severity::Error => Code::POLICY_DENIES,
                        _ => Code::POLICY_WARNS,
                    };
                    said(rule.severity, code, format!("{message} (policy {rule})"))
                })),
                Err(reason) => {
                    let message = format!("policy {rule} cannot judge it, which refuses it: {reason}");
                    findings.push(said(Severity::Error, Code::POLICY_FAULTY, message));
                }
            }
        }
        findings.sort();
        findings
    }

    /// Asks all rules about nothing: what they refuse to begin with is said when they are read.
    fn try_out(&mut self) -> Vec<Finding> {
        self.engine.set_input(Value::new_object());
        let mut faults = Vec::new();
        for rule in &self.rules {
            if let Err(reason) = ask(&mut self.engine, rule) {
                let file = rule.files.first().map_or_else(|| Path::new(""), |file| file.as_path());
                faults.push(fault(file, &reason));
            }
        }
        faults.dedup_by(|b, a| a.message == b.message);
        faults
    }
}

fn ask(engine: &mut Engine, rule: &Rule) -> Result<Vec<String>, String> {
    let value = budget::within(|| engine.eval_rule(rule.path.clone()).map_err(|error| error.to_string()))?;
    Ok(verdict::messages(&value))
}

/// In the syntax of Rego 1.0, else in the one before it.
fn parse(engine: &mut Engine, path: &Path, text: &str) -> Result<(), String> {
    let mut add = |before_1_0: bool| {
        engine.set_rego_v0(before_1_0);
        let added = engine.add_policy(path.display().to_string(), text.to_owned());
        added.map(drop).map_err(|error| error.to_string())
    };
    add(false).or_else(|of_1_0| add(true).map_err(|_| of_1_0))
}

/// The rules to be asked, by package.
fn rules(engine: &Engine) -> Result<Vec<Rule>, String> {
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    for package in engine.get_policy_package_components().map_err(|error| error.to_string())? {
        let of_package =
            package.components.iter().fold(String::from("data"), |path, component| path + &part(component));
        for (name, severity) in RULES {
            let path = format!("{of_package}.{name}");
            let declared = engine.has_declared_rule_rooted_at(&package.source_file, name);
            if declared.map_err(|error| error.to_string())? {
                let rule = rules.entry(path.clone()).or_insert(Rule {
                    path,
                    severity,
                    files: Vec::new(),
                    knows_deletions: false,
                });
                rule.files.push(PathBuf::from(&package.source_file));
            }
        }
    }
    Ok(rules.into_values().collect())
}

/// A component of a path as it is written behind others.
fn part(component: &str) -> String {
    let mut bytes = component.bytes();
    let plain = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match plain {
        true => format!(".{component}"),
        false => format!("[{}]", serde_json::Value::from(component)),
    }
}

/// A finding on a policy itself.
fn fault(path: &Path, reason: &str) -> Finding {
    // The evaluator says `--> path:line:column`, shows the line, and says `error: what`.
    let line = reason.lines().find_map(|line| {
        let (_, place) = line.trim_start().strip_prefix("--> ")?.split_at_checked(path.as_os_str().len())?;
        place.strip_prefix(':')?.split(':').next()?.parse().ok()
    });
    let origin = Origin { line: line.unwrap_or(1), ..Origin::file(path) };
    let message = format!("the policy cannot be used: {}", first_line(reason));
    Finding { code: Code::POLICY_FAULTY, ..origin.finding(Severity::Error, message) }
}

/// What an error of the evaluator says, without the lines that it shows.
fn first_line(reason: &str) -> String {
    let said = reason.lines().find_map(|line| line.trim_start().strip_prefix("error: "));
    said.or_else(|| reason.lines().find(|line| !line.trim().is_empty())).unwrap_or_default().trim().to_owned()
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        write!(f, "{}: {}", files.join(", "), self.path)
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.rules).finish()
    }
}
