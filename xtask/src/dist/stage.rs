//! The files of a release, and the archives that contain them.

use super::{Arch, Release, licences};
use crate::sh;
use anyhow::{Context as _, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Completions: the shell, the file's name, and its directory in Debian.
const COMPLETIONS: [(&str, &str, &str); 3] = [
    (
        "bash",
        "vb3.bash",
        "usr/share/bash-completion/completions/vb3",
    ),
    ("zsh", "_vb3", "usr/share/zsh/vendor-completions/_vb3"),
    (
        "fish",
        "vb3.fish",
        "usr/share/fish/vendor_completions.d/vb3.fish",
    ),
];
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
pub(super) const THIRD_PARTY: &str = "THIRD-PARTY-LICENSES.txt";

/// Fields that every package's control file has.
pub(super) const FIELDS: &str = "Maintainer: the videobuf3 project <https://github.com/videobuf3/videobuf3>\n\
     Section: video\n\
     Priority: optional\n\
     Homepage: https://github.com/videobuf3/videobuf3\n";

pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Puts the files of a release into a directory.
/// For another processor, this machine's binary writes the completions and manual pages.
pub(super) fn stage(release: &Release, arch: Arch, binary: &Path) -> Result<PathBuf> {
    let dir = release
        .dir
        .join(format!("vb3-{}-{}-linux", release.version, arch.machine()));
    sh::fresh(&dir)?;
    copy(binary, &dir.join("vb3"), 0o755)?;
    let speaks = if arch.is_here() {
        binary.to_owned()
    } else {
        sh::release_vb3()?
    };
    for (shell, name, _) in COMPLETIONS {
        let text = sh::quietly(Command::new(&speaks).args(["completions", shell]))?;
        fs::create_dir_all(dir.join("completions"))?;
        fs::write(dir.join("completions").join(name), text)?;
    }
    sh::quietly(
        Command::new(&speaks)
            .arg("manual")
            .arg(dir.join("man/man1")),
    )?;
    for name in DOCUMENTS {
        copy(&sh::root().join(name), &dir.join(name), 0o644)?;
    }
    fs::write(dir.join(THIRD_PARTY), licences::text("vb3", arch.target())?)?;
    Ok(dir)
}

/// Packs the directory reproducibly: equal files make equal archives.
pub(super) fn tarball(release: &Release, arch: Arch, stage: &Path) -> Result<PathBuf> {
    let name = format!("vb3-{}-{}-linux.tar.gz", release.version, arch.machine());
    let archive = release.dir.join(name);
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg("--use-compress-program=gzip --no-name --best");
    tar.args(["--mtime=@0", "--create", "--file"]);
    tar.arg(&archive).arg("--directory").arg(&release.dir);
    tar.arg(stage.file_name().context("the directory has a name")?);
    sh::quietly(&mut tar)?;
    Ok(archive)
}

/// Makes the Debian package.
pub(super) fn debian(release: &Release, arch: Arch, stage: &Path) -> Result<PathBuf> {
    let root = release.dir.join(format!("deb-{}", arch.debian()));
    sh::fresh(&root)?;
    copy(&stage.join("vb3"), &root.join("usr/bin/vb3"), 0o755)?;
    for (_, name, place) in COMPLETIONS {
        copy(
            &stage.join("completions").join(name),
            &root.join(place),
            0o644,
        )?;
    }
    for page in fs::read_dir(stage.join("man/man1"))? {
        let page = page?;
        let to = root.join("usr/share/man/man1").join(page.file_name());
        copy(&page.path(), &to, 0o644)?;
        sh::quietly(Command::new("gzip").args(["--no-name", "--best"]).arg(&to))?;
    }
    let doc = root.join("usr/share/doc/vb3");
    for name in ["README.md", "CHANGELOG.md", THIRD_PARTY] {
        copy(&stage.join(name), &doc.join(name), 0o644)?;
    }
    fs::write(doc.join("copyright"), copyright()?)?;
    let kib = kib(&root)?;
    fs::create_dir_all(root.join("DEBIAN"))?;
    fs::write(root.join("DEBIAN/control"), control(release, arch, &kib))?;
    let package = release
        .dir
        .join(format!("vb3_{}_{}.deb", release.version, arch.debian()));
    pack(&root, &package)
}

/// Returns the size in KiB of the files below a directory.
pub(super) fn kib(root: &Path) -> Result<String> {
    let mut du = Command::new("du");
    let du = du.args(["--summarize", "--block-size=1024"]).arg(root);
    Ok(sh::text(du)?
        .split_whitespace()
        .next()
        .unwrap_or("0")
        .to_owned())
}

/// Packs a package's files. Returns the package's path.
pub(super) fn pack(root: &Path, package: &Path) -> Result<PathBuf> {
    let mut dpkg = Command::new("dpkg-deb");
    // dpkg of Debian 12, and older ones, can read xz.
    dpkg.args(["--root-owner-group", "-Zxz", "--build"])
        .arg(root)
        .arg(package);
    sh::quietly(&mut dpkg)?;
    Ok(package.to_owned())
}

fn control(release: &Release, arch: Arch, kib: &str) -> String {
    format!(
        "Package: vb3\n\
         Version: {}\n\
         Architecture: {}\n\
         {FIELDS}\
         Installed-Size: {kib}\n\
         Suggests: ffmpeg, vb3-codec\n\
         Description: V4L2 cameras, codecs and displays for unmodified programs\n \
         vb3 run puts cameras, codecs, converters and displays under a program that uses\n \
         V4L2, on a machine of your choice, without a kernel module and without root.\n \
         .\n \
         With ffmpeg installed, cameras play clips; vb3-codec has the codecs but JPEG.\n",
        release.version,
        arch.debian()
    )
}

pub(super) fn copyright() -> Result<String> {
    let mit = fs::read_to_string(sh::root().join("LICENSE-MIT"))?;
    Ok(format!(
        "videobuf3, https://github.com/videobuf3/videobuf3\n\n\
         Licensed under the Apache License, Version 2.0 (on Debian systems in\n\
         /usr/share/common-licenses/Apache-2.0) or the following, at your option:\n\n{mit}\n\
         Licences of what is linked in are in {THIRD_PARTY}.\n"
    ))
}
