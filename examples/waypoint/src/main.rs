//! The waypoint's binary; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_waypoint::main_with_args(std::env::args_os())
}
