//! The vb3 command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(vb3::commands::main())
}
