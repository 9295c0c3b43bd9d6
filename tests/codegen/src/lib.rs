//! Regenerates the checked-in protobuf code and compares it, so that nobody who builds needs `protoc`.
//!
//! With `MESH_CODEGEN_WRITE=1` in the environment the test writes what it would compare.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// One set of proto files and where its code stands.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// Crate folder, relative to the workspace.
    pub package: &'static str,
    /// File names below the crate's `proto/`.
    pub protos: &'static [&'static str],
}

/// Everything that is generated.
pub const UNITS: [Unit; 5] = [
    Unit { package: "mesh-identity", protos: &["istio_ca.proto"] },
    Unit { package: "mesh-identity", protos: &["workload.proto"] },
    Unit {
        package: "mesh-identity",
        protos: &[
            "spire_types.proto",
            "spire_agent.proto",
            "spire_bundle.proto",
            "spire_entry.proto",
            "spire_svid.proto",
        ],
    },
    Unit { package: "mesh-transport", protos: &["istio_zds.proto"] },
    Unit { package: "mesh-xds", protos: &["istio_workload.proto", "istio_security.proto"] },
];

/// Messages with a secret in them, and those that hold such messages.
const SECRET: [&str; 15] = [
    ".X509SVID",
    ".X509SVIDResponse",
    ".JWTSVID",
    ".JWTSVIDResponse",
    ".ValidateJWTSVIDRequest",
    ".spire.api.types.AttestationData",
    ".spire.api.types.JoinToken",
    ".spire.api.types.JWTSVID",
    ".spire.api.server.agent.v1.AttestAgentRequest",
    ".spire.api.server.agent.v1.AttestAgentRequest.step",
    ".spire.api.server.agent.v1.AttestAgentRequest.Params",
    ".spire.api.server.agent.v1.AttestAgentResponse",
    ".spire.api.server.agent.v1.AttestAgentResponse.step",
    ".spire.api.server.agent.v1.CreateJoinTokenRequest",
    ".spire.api.server.svid.v1.NewJWTSVIDResponse",
];

/// The workspace that this crate stands in.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Generates a unit's code: file names and texts.
///
/// # Errors
/// When a proto file does not compile or the output cannot be written to the scratch folder.
pub fn generate(unit: Unit) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let folder = workspace().join(unit.package).join("proto");
    let files: Vec<PathBuf> = unit.protos.iter().map(|name| folder.join(name)).collect();
    let descriptors = protox::compile(&files, [&folder])?;
    let scratch = tempfile::tempdir()?;
    let mut config = tonic_prost_build::Config::new();
    // The Workload API's messages have no package.
    config.default_package_filename("workload");
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .build_transport(false)
        .compile_well_known_types(true)
        // Private keys and tokens travel in these; a debugging text must not hold them.
        .skip_debug(SECRET)
        // Sorted maps: equal content must give equal bytes, because versions are hashes of them.
        .btree_map(".")
        .out_dir(scratch.path())
        .extern_path(".google.protobuf", "::envoy_types::pb::google::protobuf")
        .compile_fds_with_config(descriptors, config)?;
    let mut generated = Vec::new();
    for entry in fs::read_dir(scratch.path())? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        generated.push((name, fs::read_to_string(&path)?));
    }
    generated.sort();
    Ok(generated)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the switch between comparing and writing")]
    fn checked_in_code_is_current() {
        let write = std::env::var("MESH_CODEGEN_WRITE").is_ok_and(|value| value == "1");
        let mut expected: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
        for unit in UNITS {
            let folder = workspace().join(unit.package).join("src/proto");
            for (name, text) in generate(unit).unwrap() {
                let path = folder.join(&name);
                if write {
                    fs::write(&path, text).unwrap();
                } else {
                    let current = fs::read_to_string(&path).unwrap_or_default();
                    assert!(current == text, "{} is not what its proto gives", path.display());
                }
                expected.entry(folder.clone()).or_default().insert(name);
            }
        }
        // What no proto gives any more must go.
        for (folder, expected) in expected {
            let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
            let names = files.map(|name| name.to_string_lossy().into_owned()).filter(|name| name != "mod.rs");
            assert_eq!(names.collect::<BTreeSet<_>>(), expected, "{}", folder.display());
        }
    }
}
