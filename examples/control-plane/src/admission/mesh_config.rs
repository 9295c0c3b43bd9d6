//! The settings of the mesh: a text in a text.

use std::sync::Arc;

use crate::finding::{Finding, Origin};
use crate::resource::{ConfigMap, MESH_CONFIG, MeshConfig};

use super::{typed, yaml};

/// Reads the settings of the mesh, where a ConfigMap holds them. `None`: it does, and they cannot be read.
pub(super) fn read(map: &mut Arc<ConfigMap>, origin: &Origin, findings: &mut Vec<Finding>) -> Option<()> {
    let Some(text) = map.data.get("mesh").filter(|_| map.metadata.name == MESH_CONFIG) else { return Some(()) };
    match config(text) {
        Ok(mesh) => {
            *map = Arc::new(ConfigMap { mesh: Some(Box::new(mesh)), ..ConfigMap::clone(map) });
            Some(())
        }
        Err(message) => {
            findings.push(Finding { field: "data.mesh".to_owned(), ..origin.error(message) });
            None
        }
    }
}

fn config(text: &str) -> Result<MeshConfig, String> {
    let value = yaml::parse(text).map_err(|mistake| mistake.message)?;
    if value.is_null() {
        return Ok(MeshConfig::default());
    }
    typed::read::<MeshConfig>(&value).0.map_err(|typed::Mistake { field, message }| match field.as_str() {
        "" => message,
        field => format!("{field}: {message}"),
    })
}
