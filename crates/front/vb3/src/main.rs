//! The vb3 command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // After a panic, the status is the one of vb3's own failures, not one that a program has returned.
    ExitCode::from(std::panic::catch_unwind(vb3::commands::main).unwrap_or(vb3::cli::FAILED))
}
