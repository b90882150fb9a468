//! The vb3 command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // After a defect, the status is not one of the program.
    ExitCode::from(std::panic::catch_unwind(vb3::commands::main).unwrap_or(vb3::cli::FAILED))
}
