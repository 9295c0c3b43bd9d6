//! The node proxy's binary; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_node_proxy::main_with_args(std::env::args_os())
}
