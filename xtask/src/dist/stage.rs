//! The files of a release, and the archives that contain them.

use super::{Release, licences};
use crate::arch::Arch;
use crate::sh::{self, cmd};
use anyhow::Result;
use fs_err as fs;
use std::path::{Path, PathBuf};

/// Completions: the shell, the file's name, and its path in Debian.
const COMPLETIONS: [[&str; 3]; 3] = [
    [
        "bash",
        "vb3.bash",
        "usr/share/bash-completion/completions/vb3",
    ],
    ["zsh", "_vb3", "usr/share/zsh/vendor-completions/_vb3"],
    [
        "fish",
        "vb3.fish",
        "usr/share/fish/vendor_completions.d/vb3.fish",
    ],
];
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
pub(super) const THIRD_PARTY: &str = "THIRD-PARTY-LICENSES.txt";

/// The last fields of the control file, for the package with the binary.
const FIELDS: &str = "Suggests: ffmpeg, vb3-codec
Description: V4L2 cameras, codecs and displays for unmodified programs
 vb3 run puts cameras, codecs, converters and displays under a program that uses
 V4L2, on a machine of your choice, without a kernel module and without root.
 .
 With ffmpeg installed, cameras play clips; vb3-codec has the codecs but JPEG.
";

/// Copies a file, with a mode in octal digits. Replaces the file at `to`, which a process may still use.
pub(super) fn copy(from: &Path, to: &Path, mode: &str) -> Result<()> {
    sh::quietly(cmd!("install -D -m {mode} {from} {to}")).map(drop)
}

/// Puts the files of a release into a directory.
/// For another processor, this machine's binary writes the completions and manual pages.
pub(super) fn stage(release: &Release, arch: Arch, binary: &Path) -> Result<PathBuf> {
    let dir = release.dir.join(name(release, arch));
    sh::fresh(&dir)?;
    copy(binary, &dir.join("vb3"), "755")?;
    let speaks = match arch.is_here() {
        true => binary.to_owned(),
        false => sh::release_vb3()?,
    };
    let (completions, manual) = (dir.join("completions"), dir.join("man/man1"));
    fs::create_dir_all(&completions)?;
    for [shell, name, _] in COMPLETIONS {
        let text = sh::quietly(cmd!("{speaks} completions {shell}"))?;
        fs::write(completions.join(name), text)?;
    }
    sh::quietly(cmd!("{speaks} manual {manual}"))?;
    for name in DOCUMENTS {
        copy(&sh::root().join(name), &dir.join(name), "644")?;
    }
    fs::write(dir.join(THIRD_PARTY), licences::text("vb3", arch.target())?)?;
    Ok(dir)
}

/// Returns the name of the release's directory for a processor.
fn name(release: &Release, arch: Arch) -> String {
    format!("vb3-{}-{}-linux", release.version, arch.machine())
}

/// Packs the directory reproducibly: equal files make equal archives.
pub(super) fn tarball(release: &Release, arch: Arch) -> Result<PathBuf> {
    let (stage, dir) = (name(release, arch), &release.dir);
    let archive = dir.join(format!("{stage}.tar.gz"));
    sh::quietly(cmd!(
        "tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0
             --use-compress-program='gzip --no-name --best' --create --file {archive} --directory {dir} {stage}"
    ))?;
    Ok(archive)
}

/// Makes the Debian package.
pub(super) fn debian(release: &Release, arch: Arch, stage: &Path) -> Result<PathBuf> {
    let root = release.dir.join(format!("deb-{}", arch.debian()));
    sh::fresh(&root)?;
    copy(&stage.join("vb3"), &root.join("usr/bin/vb3"), "755")?;
    for [_, name, place] in COMPLETIONS {
        let from = stage.join("completions").join(name);
        copy(&from, &root.join(place), "644")?;
    }
    for page in fs::read_dir(stage.join("man/man1"))? {
        let page = page?;
        let to = root.join("usr/share/man/man1").join(page.file_name());
        copy(&page.path(), &to, "644")?;
        sh::quietly(cmd!("gzip --no-name --best {to}"))?;
    }
    for name in ["README.md", "CHANGELOG.md", THIRD_PARTY] {
        let to = root.join("usr/share/doc/vb3").join(name);
        copy(&stage.join(name), &to, "644")?;
    }
    pack(release, &root, "vb3", &release.version, arch, FIELDS)
}

/// Packs the files below `root` as a Debian package, with its control file and its copyright.
/// `fields` end the control file. Returns the package's path.
pub(super) fn pack(
    release: &Release,
    root: &Path,
    name: &str,
    version: &str,
    arch: Arch,
    fields: &str,
) -> Result<PathBuf> {
    let doc = root.join("usr/share/doc").join(name);
    fs::write(doc.join("copyright"), copyright()?)?;
    let kib = sh::text(cmd!("du --summarize --block-size=1024 {root}"))?;
    let kib = kib.split_whitespace().next().unwrap_or("0");
    fs::create_dir_all(root.join("DEBIAN"))?;
    let control = control(name, version, arch, kib, fields);
    fs::write(root.join("DEBIAN/control"), control)?;
    let package = release
        .dir
        .join(format!("{name}_{version}_{}.deb", arch.debian()));
    // The format is xz, because dpkg of Debian 12 and of older releases can read it.
    sh::quietly(cmd!(
        "dpkg-deb --root-owner-group -Zxz --build {root} {package}"
    ))?;
    Ok(package)
}

pub(super) fn control(name: &str, version: &str, arch: Arch, kib: &str, fields: &str) -> String {
    format!(
        "Package: {name}\n\
         Version: {version}\n\
         Architecture: {}\n\
         Maintainer: the videobuf3 project <https://github.com/videobuf3/videobuf3>\n\
         Section: video\n\
         Priority: optional\n\
         Homepage: https://github.com/videobuf3/videobuf3\n\
         Installed-Size: {kib}\n\
         {fields}",
        arch.debian()
    )
}

fn copyright() -> Result<String> {
    let mit = fs::read_to_string(sh::root().join("LICENSE-MIT"))?;
    Ok(format!(
        "videobuf3, https://github.com/videobuf3/videobuf3\n\n\
         Licensed under the Apache License, Version 2.0 (on Debian systems in\n\
         /usr/share/common-licenses/Apache-2.0) or the following, at your option:\n\n{mit}\n\
         Licences of what is linked in are in {THIRD_PARTY}.\n"
    ))
}
