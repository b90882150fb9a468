//! Makes a package of `vb3-codec` for each Debian release, since it is linked with that release's libavcodec.
//! The program is built in a root of that release, with this system's Rust.

use super::{Release, licences, root, stage};
use crate::arch::Arch;
use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use std::path::{Path, PathBuf};

/// Directory of the build in the root.
const BUILD: &str = "build";
/// The program of vb3-avcodec. The package installs it as vb3-codec.
const PROGRAM: &str = "avcodec-worker";

/// Finds the packages that a program needs. The caller appends the program's path to this script.
/// dpkg-shlibdeps needs a source package around the program.
const SHLIBDEPS: &str = r"mkdir -p /tmp/shlibdeps/debian; cd /tmp/shlibdeps
printf 'Source: vb3\n\nPackage: vb3-codec\nArchitecture: any\n' > debian/control
exec dpkg-shlibdeps -O -e";

/// Returns the packages of the root: build tools, and for another processor its compiler and libraries.
fn packages(arch: Arch) -> String {
    let tools = "gcc,libc6-dev,pkg-config,dpkg-dev";
    if arch.is_here() {
        return format!("{tools},libavcodec-dev");
    }
    let (name, machine) = (arch.debian(), arch.machine().replace('_', "-"));
    format!("{tools},gcc-{machine}-linux-gnu,libc6-dev:{name},libavcodec-dev:{name}")
}

/// Makes a root to build in, for a processor.
fn build_root(release: &Release, arch: Arch, suite: &str) -> Result<PathBuf> {
    let include = format!("--include={}", packages(arch));
    let mut options = vec!["--variant=apt".to_owned(), include];
    if !arch.is_here() {
        let own = sh::text(cmd!("dpkg --print-architecture"))?;
        options.push(format!("--architectures={own},{}", arch.debian()));
    }
    let kind = format!("codec-{}", arch.debian());
    root::fresh(release, suite, &kind, &options)
}

/// Builds the program in a root of Debian. Returns the program's path and the package's dependencies.
fn build(root: &Path, arch: Arch) -> Result<(PathBuf, String)> {
    let (target, machine) = (arch.target(), arch.machine());
    sh::run(sh::cargo("fetch --locked --target").arg(target))?;
    let sysroot = PathBuf::from(sh::text(cmd!("rustc --print sysroot"))?);
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let home = home.context("there is no home directory for cargo")?;
    let tree = sh::root();
    let (place, bin) = (tree.display(), sysroot.join("bin"));
    let (home_place, bin, debian) = (home.display(), bin.display(), arch.debian());
    let mut env = format!(
        "export CARGO_HOME='{home_place}' RUSTC='{bin}/rustc' CARGO_TARGET_DIR=/{BUILD}
         export DEB_HOST_ARCH={debian}\n"
    );
    if !arch.is_here() {
        for (name, value) in arch.cross() {
            env += &format!("export {name}={value}\n");
        }
        let libraries = format!("/usr/lib/{machine}-linux-gnu/pkgconfig");
        env += &format!("export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_LIBDIR={libraries}\n");
    }
    let run = |script: &str| {
        let script = format!("{env}{script}");
        root::inside(root, &[&tree, &sysroot, &home], &["sh", "-ec", &script])
    };
    run(&format!(
        "cd '{place}'; exec '{bin}/cargo' build --release --locked --offline \
         --package vb3-avcodec --bin {PROGRAM} --target {target}"
    ))?;
    let program = format!("{BUILD}/{target}/release/{PROGRAM}");
    let text = run(&format!("{SHLIBDEPS} /{program}"))?;
    let text = String::from_utf8(text).context("the output of dpkg-shlibdeps is not UTF-8")?;
    let depends = text.trim().strip_prefix("shlibs:Depends=");
    match depends.filter(|list| list.contains("libavcodec")) {
        Some(list) => Ok((root.join(program), list.to_owned())),
        None => bail!("{program} is not linked with libavcodec: {text}"),
    }
}

/// Builds the program for a Debian release and puts it at a path. Returns the package's dependencies.
pub(super) fn put(release: &Release, arch: Arch, suite: &str, to: &Path) -> Result<String> {
    let root = build_root(release, arch, suite)?;
    let (program, depends) = build(&root, arch)?;
    stage::copy(&program, to, "755")?;
    fs::remove_dir_all(&root)?;
    Ok(depends)
}

/// Builds the program for a Debian release and packs it.
pub(super) fn make(release: &Release, arch: Arch, number: &str, suite: &str) -> Result<PathBuf> {
    let stage = release.dir.join(format!("deb-codec-{}", arch.debian()));
    sh::fresh(&stage)?;
    let depends = put(release, arch, suite, &stage.join("usr/bin/vb3-codec"))?;
    let doc = stage.join("usr/share/doc/vb3-codec");
    fs::create_dir_all(&doc)?;
    let licences = licences::text("vb3-avcodec", arch.target())?;
    fs::write(doc.join(stage::THIRD_PARTY), licences)?;
    let version = format!("{}+deb{number}", release.version);
    let fields = fields(&depends);
    stage::pack(release, &stage, "vb3-codec", &version, arch, &fields)
}

/// Returns the last fields of the package's control file.
fn fields(depends: &str) -> String {
    format!(
        "Depends: {depends}\n\
         Enhances: vb3\n\
         Description: libavcodec's codecs for vb3\n \
         Codecs of vb3 for H.264, HEVC, VP8, VP9, MPEG-2, MPEG-4 and AV1, by the libavcodec of this\n \
         system. vb3 run finds the program and starts it for each stream.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_processor_needs_its_own_libraries() {
        let (here, other) = match Arch::X86_64.is_here() {
            true => (Arch::X86_64, Arch::Arm64),
            false => (Arch::Arm64, Arch::X86_64),
        };
        assert!(packages(here).ends_with(",libavcodec-dev"));
        let wanted = format!("libavcodec-dev:{}", other.debian());
        let found = packages(other);
        assert!(
            found.contains("linux-gnu") && found.ends_with(&wanted),
            "{found}"
        );
    }

    #[test]
    fn the_package_says_what_it_needs() {
        let fields = fields("libavcodec59 (>= 7:5.0)");
        let text = stage::control("vb3-codec", "1+deb12", Arch::X86_64, "100", &fields);
        for line in ["Architecture: amd64", "Depends: libavcodec59 (>= 7:5.0)"] {
            assert!(text.lines().any(|have| have == line), "{text}");
        }
        assert!(text.lines().all(|line| !line.is_empty()), "{text}");
    }
}
