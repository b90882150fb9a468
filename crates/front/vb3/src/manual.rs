//! Manual pages and shell completions, generated from the definition of the command line.

use crate::cli::Cli;
use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::io::Write;
use std::path::Path;

/// Prints a shell's completions.
///
/// # Errors
/// `out` cannot be written.
pub fn completions(shell: Shell, out: &mut dyn Write) -> Result<()> {
    // The generator panics if it cannot write, for example to a closed pipe. So it writes to memory first.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vb3", &mut text);
    Ok(out.write_all(&text)?)
}

/// Writes `vb3.1` and a page for each command into a directory.
///
/// # Errors
/// The directory or a file cannot be written.
pub fn pages(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .with_context(|| format!("cannot write to {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_every_command_that_is_shown() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            completions(shell, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            for word in ["machines", "--strict", "completions"] {
                // fish writes long options without their dashes.
                assert!(
                    text.contains(word.trim_start_matches('-')),
                    "{shell}: {word}"
                );
            }
        }
    }

    #[test]
    fn every_command_that_is_shown_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path()).unwrap();
        let page = |name: &str| std::fs::read_to_string(dir.path().join(name));
        assert!(page("vb3.1").unwrap().contains("vb3\\-run(1)"));
        let run = page("vb3-run.1").unwrap();
        assert!(
            run.contains("\\-\\-trace") && run.contains("SIGTERM"),
            "{run}"
        );
        assert!(page("vb3-why.1").is_ok() && page("vb3-codec.1").is_err());
    }
}
