//! `vb3-codec` as a package of its own: it is linked with the libavcodec of the Debian it is built
//! on, and fits no other.

use super::{Arch, Release, licences, stage};
use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why it cannot be made here.
pub(super) fn missing() -> Option<String> {
    if version().is_err() {
        return Some("this system is not Debian".to_owned());
    }
    for (program, package) in [("dpkg-shlibdeps", "dpkg-dev"), ("pkg-config", "pkg-config")] {
        if !sh::has(program) {
            return Some(format!("{package} is not installed"));
        }
    }
    let mut there = Command::new("pkg-config");
    let there = there.args(["--exists", "libavcodec"]).status();
    (!there.is_ok_and(|status| status.success()))
        .then(|| "libavcodec-dev is not installed".to_owned())
}

/// The number of the Debian that this is.
pub(super) fn version() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("no /etc/os-release")?;
    number(&text).context("/etc/os-release names no Debian with a number")
}

fn number(os_release: &str) -> Option<String> {
    let field = |name: &str| {
        let mut lines = os_release.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches('"'))
    };
    let whole = |number: &&str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number = field("VERSION_ID").filter(whole)?;
    (field("ID") == Some("debian")).then(|| number.to_owned())
}

/// Builds the program and packs it.
pub(super) fn make(release: &Release) -> Result<PathBuf> {
    let arch = Arch::X86_64;
    sh::run(sh::cargo().args(["build", "--release", "--package", "vb3-avcodec"]))?;
    let built = release.dir.join("vb3-codec");
    let mut strip = Command::new("strip");
    let strip = strip.arg("-o").arg(&built);
    sh::quietly(strip.arg(sh::target().join("release/vb3-codec")))?;
    let root = release.dir.join("deb-codec");
    stage::fresh(&root)?;
    stage::copy(&built, &root.join("usr/bin/vb3-codec"), 0o755)?;
    let doc = root.join("usr/share/doc/vb3-codec");
    fs::create_dir_all(&doc)?;
    fs::write(doc.join("copyright"), stage::copyright()?)?;
    let licences = licences::text("vb3-avcodec", arch.target())?;
    fs::write(doc.join(stage::THIRD_PARTY), licences)?;
    let name = format!("{}+deb{}", release.version, version()?);
    fs::create_dir_all(root.join("DEBIAN"))?;
    fs::write(
        root.join("DEBIAN/control"),
        control(&name, arch, &depends(release, &built)?, &stage::kib(&root)?),
    )?;
    let package = format!("vb3-codec_{name}_{}.deb", arch.debian());
    stage::pack(&root, &release.dir.join(package))
}

/// The packages whose libraries a program is linked with, as dpkg finds them.
fn depends(release: &Release, program: &Path) -> Result<String> {
    let dir = release.dir.join("shlibdeps");
    stage::fresh(&dir.join("debian"))?;
    fs::write(
        dir.join("debian/control"),
        "Source: vb3\n\nPackage: vb3-codec\nArchitecture: any\n",
    )?;
    let mut find = Command::new("dpkg-shlibdeps");
    let text = sh::quietly(find.args(["-O", "-e"]).arg(program).current_dir(&dir))?;
    fs::remove_dir_all(&dir)?;
    let text = String::from_utf8(text).context("dpkg-shlibdeps says no text")?;
    let depends = text.trim().strip_prefix("shlibs:Depends=");
    match depends.filter(|list| list.contains("libavcodec")) {
        Some(list) => Ok(list.to_owned()),
        None => bail!(
            "{} is not linked with libavcodec: {text}",
            program.display()
        ),
    }
}

fn control(version: &str, arch: Arch, depends: &str, kib: &str) -> String {
    format!(
        "Package: vb3-codec\n\
         Version: {version}\n\
         Architecture: {}\n\
         {}\
         Installed-Size: {kib}\n\
         Depends: {depends}\n\
         Enhances: vb3\n\
         Description: libavcodec's decoders for vb3\n \
         Decoders of vb3 for H.264 with B-frames, HEVC, VP8, VP9, MPEG-2, MPEG-4 and AV1, by the\n \
         libavcodec of this system. vb3 run finds the program and starts it for each stream.\n",
        arch.debian(),
        stage::FIELDS,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_debian_with_a_number_has_one() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert_eq!(number(debian).as_deref(), Some("12"));
        assert_eq!(number("ID=ubuntu\nVERSION_ID=\"24.04\"\n"), None);
        assert_eq!(number("ID=debian\n"), None);
    }

    #[test]
    fn the_package_says_what_it_needs() {
        let text = control("1+deb12", Arch::X86_64, "libavcodec59 (>= 7:5.0)", "100");
        for line in ["Architecture: amd64", "Depends: libavcodec59 (>= 7:5.0)"] {
            assert!(text.lines().any(|have| have == line), "{text}");
        }
        assert!(text.lines().all(|line| !line.is_empty()), "{text}");
    }
}
