//! `/explain` of the admin endpoint.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mesh_host::admin::Page;
use serde_json::{Value, json};

use super::{Mesh, Question};
use crate::translate::Place;
use crate::world::World;

const USAGE: &str = "ask /explain?from=<workload, account, address or SPIFFE ID>&to=<service, workload, address or URL>, \
                     and of a request method, path, host and headers (`name: value`, one per line)";

/// Answers by what is served now, which the function tells: `None` as long as there is nothing.
pub(crate) fn page(now: impl Fn() -> Option<Arc<World>> + Send + Sync + 'static, place: Place) -> Page {
    let known: Mutex<Option<(Arc<World>, Arc<Mesh>)>> = Mutex::new(None);
    Arc::new(move |asked| {
        let Some(world) = now() else { return json!({"error": "there is no configuration yet"}) };
        let mesh = {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            match &*known {
                Some((of, mesh)) if Arc::ptr_eq(of, &world) => Arc::clone(mesh),
                _ => {
                    let mesh = Arc::new(Mesh::new(&world, &place));
                    *known = Some((world, Arc::clone(&mesh)));
                    mesh
                }
            }
        };
        answer(&mesh, asked)
    })
}

fn answer(mesh: &Mesh, asked: &BTreeMap<String, String>) -> Value {
    let Some(question) = question(asked) else { return json!({ "error": USAGE }) };
    match mesh.explain(&question) {
        Ok(answer) => json!({"text": answer.to_string(), "answer": answer}),
        Err(error) => json!({"error": error.to_string()}),
    }
}

fn question(asked: &BTreeMap<String, String>) -> Option<Question> {
    let text = |name: &str| asked.get(name).cloned();
    let lines = text("headers").unwrap_or_default();
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    Some(Question {
        from: text("from")?,
        to: text("to")?,
        method: text("method"),
        path: text("path"),
        host: text("host"),
        headers: lines.lines().map(header).collect::<Option<_>>()?,
    })
}

impl Question {
    /// As the parameters of the page.
    pub(crate) fn parameters(&self) -> [(&'static str, Option<String>); 6] {
        let headers: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        [
            ("from", Some(self.from.clone())),
            ("to", Some(self.to.clone())),
            ("method", self.method.clone()),
            ("path", self.path.clone()),
            ("host", self.host.clone()),
            ("headers", Some(headers.join("\n")).filter(|headers| !headers.is_empty())),
        ]
    }
}
