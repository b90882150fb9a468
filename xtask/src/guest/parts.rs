//! Parts of a guest: kernel, root and programs. They are kept in the cache or in `target`.

use super::Kind;
use crate::sh;
use crate::vm::lab;
use crate::vm::step;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Rust's target for arm64.
const TARGET: &str = "aarch64-unknown-linux-gnu";

fn cache() -> Result<PathBuf> {
    let cache = sh::cache()?.join("lab");
    std::fs::create_dir_all(&cache).context("cannot make the cache")?;
    std::fs::create_dir_all(lab::logs()).context("cannot make the directory of logs")?;
    Ok(cache)
}

/// Returns the kernel with its initial RAM disk.
pub(super) fn kernel(kind: Kind) -> Result<PathBuf> {
    let keys = (lab::key("make-kernel.sh")?, lab::key("guest-init")?);
    let out = cache()?.join(format!("{}-{}-{}", kind.name, keys.0, keys.1));
    if out.exists() {
        return Ok(out);
    }
    let lab_dir = sh::root().join("lab");
    let mut make = lab::namespace();
    make.arg("sh")
        .arg(lab_dir.join("make-kernel.sh"))
        .arg(lab::own_mirror()?)
        .args([
            kind.suite,
            if kind.arm64 { "arm64" } else { "amd64" },
            kind.image,
        ])
        .arg(lab_dir.join("guest-init"))
        .arg(&out);
    step::run(
        &format!("getting {} of {}, about 90 MB", kind.image, kind.suite),
        10 * MINUTE,
        &lab::logs().join(format!("kernel-{}.log", kind.name)),
        &mut make,
    )?;
    Ok(out)
}

/// Returns the root of an arm64 guest.
pub(super) fn root() -> Result<PathBuf> {
    let out = cache()?.join(format!("arm64-root-{}", lab::key("make-arm64-root.sh")?));
    if out.exists() {
        return Ok(out);
    }
    let mut make = lab::namespace();
    make.arg("sh")
        .arg(sh::root().join("lab/make-arm64-root.sh"))
        .arg(lab::own_mirror()?)
        .arg(&out);
    step::run(
        "making the root of the arm64 guests, translated: about 400 MB to load",
        40 * MINUTE,
        &lab::logs().join("arm64-root.log"),
        &mut make,
    )?;
    Ok(out)
}

/// Builds `vb3` and, with `tests`, the tests with real programs.
pub(super) fn programs(kind: Kind, tests: bool) -> Result<(PathBuf, Option<PathBuf>)> {
    let mut cargo = sh::cargo();
    if tests {
        cargo.args(["test", "--no-run", "--package", "vb3", "--test", "e2e"]);
    } else {
        cargo.args(["build", "--package", "vb3"]);
    }
    cargo.args(["--release", "--message-format=json-render-diagnostics"]);
    if kind.arm64 {
        cargo.args(["--target", TARGET]);
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
        crate::dist::cross(&mut cargo, TARGET, "aarch64-linux-gnu-");
    }
    eprintln!("+ {}", sh::shown(&cargo));
    let out = cargo
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    if !out.status.success() {
        bail!("cargo failed: {}", out.status);
    }
    let built = |name: &str| {
        let lines = String::from_utf8_lossy(&out.stdout).into_owned();
        lines.lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let file = line["executable"].as_str()?;
            (line["target"]["name"] == name).then(|| PathBuf::from(file))
        })
    };
    let vb3 = built("vb3").context("cargo built no vb3")?;
    if kind.arm64 {
        // cargo's build had no libavcodec, so its program has no codecs.
        crate::dist::arm64_codec(&vb3.with_file_name("vb3-codec"))?;
    }
    if !tests {
        return Ok((vb3, None));
    }
    Ok((vb3, Some(built("e2e").context("cargo built no e2e")?)))
}
