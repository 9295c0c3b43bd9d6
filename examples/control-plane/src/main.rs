//! The control plane's binary; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_control_plane::main_with_args(std::env::args_os())
}
