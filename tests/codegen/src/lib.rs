//! Regenerates the checked-in protobuf code and descriptors and compares them, so that nobody who builds needs `protoc`.
//!
//! With `MESH_CODEGEN_WRITE=1` in the environment the test writes what it would compare.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost_reflect::prost::Message;
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, FileDescriptorProto, FileDescriptorSet, MessageOptions,
};

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

/// What is known of Envoy's types, by which the control plane shows them as JSON.
#[derive(Debug)]
pub struct Descriptors {
    /// Their `FileDescriptorSet`, without options and comments.
    pub types: Vec<u8>,
    /// The full names of the fields that hold secrets, one a line.
    pub sensitive: String,
}

/// Where those stand, in this order.
pub const DESCRIPTORS: [&str; 2] =
    ["examples/control-plane/src/show/envoy.binpb", "examples/control-plane/src/show/envoy.sensitive"];

/// Where imports are looked for among the protos of `envoy-types`.
const ROOTS: [&str; 8] = [
    "data-plane-api",
    "xds",
    "cel-spec/proto",
    "googleapis",
    "protoc-gen-validate",
    "opentelemetry-proto",
    "client_model",
    "ratelimit",
];

/// Folders of Envoy's protocol whose types are shown: resources of xDS, and what stands in them as `Any`. A type that is missing
/// here is shown by its name and length only.
const SHOWN: [&str; 44] = [
    "config/accesslog",
    "config/cluster",
    "config/core",
    "config/endpoint",
    "config/listener",
    "config/rbac",
    "config/route",
    "extensions/access_loggers/file",
    "extensions/access_loggers/grpc",
    "extensions/access_loggers/open_telemetry",
    "extensions/access_loggers/stream",
    "extensions/clusters/aggregate",
    "extensions/filters/http/compressor",
    "extensions/filters/http/cors",
    "extensions/filters/http/ext_authz",
    "extensions/filters/http/ext_proc",
    "extensions/filters/http/fault",
    "extensions/filters/http/grpc_stats",
    "extensions/filters/http/grpc_web",
    "extensions/filters/http/header_mutation",
    "extensions/filters/http/jwt_authn",
    "extensions/filters/http/local_ratelimit",
    "extensions/filters/http/lua",
    "extensions/filters/http/ratelimit",
    "extensions/filters/http/rbac",
    "extensions/filters/http/router",
    "extensions/filters/http/set_filter_state",
    "extensions/filters/http/stateful_session",
    "extensions/filters/listener",
    "extensions/filters/network/connection_limit",
    "extensions/filters/network/ext_authz",
    "extensions/filters/network/http_connection_manager",
    "extensions/filters/network/local_ratelimit",
    "extensions/filters/network/rbac",
    "extensions/filters/network/set_filter_state",
    "extensions/filters/network/tcp_proxy",
    "extensions/http",
    "extensions/load_balancing_policies",
    "extensions/matching",
    "extensions/path",
    "extensions/retry",
    "extensions/string_matcher",
    "extensions/transport_sockets",
    "extensions/upstreams",
];

/// Describes Envoy's types.
///
/// # Errors
/// When the proto files, which the crate `envoy-types` brings, are not there or do not compile.
pub fn descriptors() -> Result<Descriptors, Box<dyn Error>> {
    let protos = envoy_protos()?;
    let includes = ROOTS.map(|root| protos.join(root));
    let envoy = protos.join("data-plane-api/envoy");
    let mut files = Vec::new();
    for folder in SHOWN {
        find_protos(&envoy.join(folder), &mut files)?;
    }
    let mut found: BTreeMap<String, FileDescriptorProto> = BTreeMap::new();
    let mut sensitive = BTreeSet::new();
    for file in files {
        // Each by itself: relative names are looked for among the imports of a file, as `protoc` does it, and not among all.
        let mut compiler = protox::Compiler::new(&includes)?;
        compiler.include_imports(true).include_source_info(false).open_file(file)?;
        let pool = compiler.descriptor_pool();
        for file in pool.files().filter(|file| !OPTIONS.iter().any(|prefix| file.name().starts_with(prefix))) {
            found.entry(file.name().to_owned()).or_insert_with(|| bare(file.file_descriptor_proto().clone()));
        }
        let Some(option) = pool.get_extension_by_name("udpa.annotations.sensitive") else { continue };
        let fields = pool.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>());
        let secret = fields.filter(|field| field.options().get_extension(&option).as_bool() == Some(true));
        sensitive.extend(secret.map(|field| field.full_name().to_owned() + "\n"));
    }
    let set = FileDescriptorSet { file: found.into_values().collect() };
    Ok(Descriptors { types: set.encode_to_vec(), sensitive: sensitive.into_iter().collect() })
}

/// What defines options, and nothing else.
const OPTIONS: [&str; 5] =
    ["google/protobuf/descriptor.proto", "validate/", "udpa/annotations/", "xds/annotations/", "envoy/annotations/"];

/// A file without what is only for those who generate code or check values.
fn bare(mut file: FileDescriptorProto) -> FileDescriptorProto {
    file.options = None;
    file.service.clear();
    file.extension.clear();
    file.source_code_info = None;
    file.dependency.retain(|name| !OPTIONS.iter().any(|prefix| name.starts_with(prefix)));
    // By their places in the list that was.
    (file.public_dependency, file.weak_dependency) = (Vec::new(), Vec::new());
    file.message_type.iter_mut().for_each(bare_message);
    file.enum_type.iter_mut().for_each(bare_enum);
    file
}

fn bare_message(message: &mut DescriptorProto) {
    // That it is a map is the one option that says what the bytes mean.
    let is_map = message.options.as_ref().is_some_and(|options| options.map_entry());
    message.options = is_map.then(|| MessageOptions { map_entry: Some(true), ..MessageOptions::default() });
    for field in &mut message.field {
        (field.options, field.json_name) = (None, None);
    }
    message.oneof_decl.iter_mut().for_each(|one| one.options = None);
    message.nested_type.iter_mut().for_each(bare_message);
    message.enum_type.iter_mut().for_each(bare_enum);
}

fn bare_enum(kind: &mut EnumDescriptorProto) {
    // Two names of one value are allowed by an option.
    let has_aliases = kind.options.as_ref().is_some_and(|options| options.allow_alias());
    kind.options = has_aliases.then(|| EnumOptions { allow_alias: Some(true), ..EnumOptions::default() });
    kind.value.iter_mut().for_each(|value| value.options = None);
}

/// The proto files that the code of `envoy-types` was made of.
fn envoy_protos() -> Result<PathBuf, Box<dyn Error>> {
    // What is only for other platforms may not be on this machine.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &platform])
        .current_dir(workspace())
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo names no packages")?;
    let package = packages.iter().find(|package| package["name"] == "envoy-types").ok_or("there is no envoy-types")?;
    let manifest = package["manifest_path"].as_str().ok_or("envoy-types is nowhere")?;
    Ok(Path::new(manifest).with_file_name("proto"))
}

fn find_protos(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the switch between comparing and writing")]
    fn checked_in_descriptors_are_current() {
        let write = std::env::var("MESH_CODEGEN_WRITE").is_ok_and(|value| value == "1");
        let Descriptors { types, sensitive } = descriptors().unwrap();
        for (path, made) in DESCRIPTORS.iter().zip([types, sensitive.into_bytes()]) {
            let path = workspace().join(path);
            if write {
                fs::write(&path, made).unwrap();
            } else {
                assert!(fs::read(&path).unwrap_or_default() == made, "{} is not what the protos give", path.display());
            }
        }
    }
}
