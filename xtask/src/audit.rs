//! What dependencies may be, and what changes for those who use the libraries: by cargo-deny and
//! cargo-semver-checks, where they are installed.

use crate::{sh, tidy};
use anyhow::{Result, bail, ensure};

/// Arguments of `deny`.
#[derive(Debug, clap::Args)]
pub(crate) struct DenyArgs {
    /// Leave out the advisories, which are fetched
    #[arg(long)]
    offline: bool,
}

/// Arguments of `semver`.
#[derive(Debug, clap::Args)]
pub(crate) struct SemverArgs {
    /// The commit to compare with; the last one that is tagged, if not given
    #[arg(long, value_name = "COMMIT")]
    against: Option<String>,
}

/// Checks licences, sources, versions and advisories of all dependencies, as `deny.toml` has them.
///
/// # Errors
/// cargo-deny is missing, or says no.
pub(crate) fn deny(args: &DenyArgs) -> Result<()> {
    installed("cargo-deny")?;
    let mut cargo = sh::cargo();
    cargo.args(["deny", "--workspace", "check"]);
    if args.offline {
        cargo.args(["bans", "licenses", "sources"]);
        eprintln!("deny: advisories are left out");
    }
    sh::run(&mut cargo)
}

/// Compares what the libraries offer with what they offered at a commit.
///
/// # Errors
/// cargo-semver-checks is missing, there is nothing to compare with, or it finds a break that the
/// versions do not announce.
pub(crate) fn semver(args: &SemverArgs) -> Result<()> {
    installed("cargo-semver-checks")?;
    let against = match &args.against {
        Some(commit) => commit.clone(),
        None => last_tag()?,
    };
    let mut cargo = sh::cargo();
    cargo.args(["semver-checks", "--baseline-rev", &against]);
    for library in tidy::libraries() {
        cargo.args(["--package", library]);
    }
    sh::run(&mut cargo)
}

fn installed(tool: &str) -> Result<()> {
    ensure!(
        sh::has(tool),
        "{tool} is not installed; install it by `cargo install --locked {tool}`"
    );
    Ok(())
}

/// The tag nearest to what is checked out.
fn last_tag() -> Result<String> {
    let mut git = std::process::Command::new("git");
    git.current_dir(sh::root())
        .args(["describe", "--tags", "--abbrev=0"]);
    let Ok(tag) = sh::quietly(&mut git) else {
        bail!("no commit is tagged yet; name the one to compare with: --against COMMIT");
    };
    Ok(String::from_utf8_lossy(&tag).trim().to_owned())
}
