//! Makes a package of `vb3-codec` for each Debian release, since it is linked with that release's libavcodec.
//! The program is built in a root of that release, with this system's Rust.

use super::{Arch, Release, licences, root, stage};
use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directory of the build in the root.
const BUILD: &str = "build";
/// The program of vb3-avcodec. The package installs it as vb3-codec.
const PROGRAM: &str = "avcodec-worker";

/// Returns the reason why no package can be made here, if any.
pub(super) fn missing() -> Option<String> {
    let programs = ["mmdebstrap", "unshare"];
    let lacking = programs.into_iter().find(|program| !sh::has(program))?;
    Some(format!("{lacking} is not installed"))
}

/// Returns the packages of the root: build tools, and a compiler and libraries for another processor.
fn packages(arch: Arch) -> String {
    let mut packages = "gcc,libc6-dev,pkg-config,dpkg-dev".to_owned();
    if arch.is_here() {
        packages.push_str(",libavcodec-dev");
    } else {
        let (name, machine) = (arch.debian(), arch.machine().replace('_', "-"));
        packages.push_str(&format!(
            ",gcc-{machine}-linux-gnu,libc6-dev:{name},libavcodec-dev:{name}"
        ));
    }
    packages
}

/// Makes a root to build in, for a processor.
fn build_root(release: &Release, arch: Arch, suite: &str) -> Result<PathBuf> {
    let mut options = vec![
        "--variant=apt".to_owned(),
        format!("--include={}", packages(arch)),
    ];
    if !arch.is_here() {
        let own = sh::text(Command::new("dpkg").arg("--print-architecture"))?;
        options.push(format!("--architectures={own},{}", arch.debian()));
    }
    root::fresh(
        release,
        suite,
        &format!("codec-{}", arch.debian()),
        &options,
    )
}

/// Builds the program in a root of Debian. Returns the program's path and the package's dependencies.
fn build(root: &Path, arch: Arch) -> Result<(PathBuf, String)> {
    let target = arch.target();
    sh::run(sh::cargo().args(["fetch", "--locked", "--target", target]))?;
    let sysroot = sh::text(Command::new("rustc").args(["--print", "sysroot"]))?;
    let sysroot = PathBuf::from(sysroot);
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let home = home.context("there is no home directory for cargo")?;
    let tree = sh::root();
    let shared = [tree.as_path(), sysroot.as_path(), home.as_path()];
    let lower = target.replace('-', "_");
    let mut env = vec![
        format!("CARGO_HOME={}", home.display()),
        format!("CARGO_TARGET_DIR=/{BUILD}"),
        format!("RUSTC={}", sysroot.join("bin/rustc").display()),
        format!("DEB_HOST_ARCH={}", arch.debian()),
    ];
    if !arch.is_here() {
        let compiler = arch.tool("gcc");
        env.extend([
            format!("CARGO_TARGET_{}_LINKER={compiler}", lower.to_uppercase()),
            format!("CC_{lower}={compiler}"),
            "PKG_CONFIG_ALLOW_CROSS=1".to_owned(),
            format!(
                "PKG_CONFIG_LIBDIR=/usr/lib/{}-linux-gnu/pkgconfig",
                arch.machine()
            ),
        ]);
    }
    let run = |script: &str, words: &[&str]| {
        let mut command = vec!["env"];
        command.extend(env.iter().map(String::as_str));
        command.extend(["sh", "-ec", script]);
        command.extend(words);
        root::inside(root, &shared, &command)
    };
    let cargo = sysroot.join("bin/cargo").display().to_string();
    let tree = tree.display().to_string();
    let build = "build --release --locked --offline --package vb3-avcodec --bin";
    let mut words = vec![tree.as_str(), "-", &cargo];
    words.extend(build.split(' ').chain([PROGRAM, "--target", target]));
    run("cd \"$0\"; shift; exec \"$@\"", &words)?;
    let program = format!("{BUILD}/{target}/release/{PROGRAM}");
    // dpkg-shlibdeps needs a source package around the program.
    let text = run(
        "mkdir -p /tmp/shlibdeps/debian; cd /tmp/shlibdeps\n\
         printf 'Source: vb3\\n\\nPackage: vb3-codec\\nArchitecture: any\\n' > debian/control\n\
         exec dpkg-shlibdeps -O -e \"$0\"",
        &[&format!("/{program}")],
    )?;
    let text = String::from_utf8(text).context("the output of dpkg-shlibdeps is not UTF-8")?;
    let depends = text.trim().strip_prefix("shlibs:Depends=");
    match depends.filter(|list| list.contains("libavcodec")) {
        Some(list) => Ok((root.join(program), list.to_owned())),
        None => bail!("{program} is not linked with libavcodec: {text}"),
    }
}

/// Builds the program for a Debian release and puts it at a path.
pub(super) fn put(release: &Release, arch: Arch, suite: &str, to: &Path) -> Result<()> {
    let root = build_root(release, arch, suite)?;
    let (program, _) = build(&root, arch)?;
    // The file is replaced, not written to, because a process may still use it.
    if to.exists() {
        fs::remove_file(to)?;
    }
    stage::copy(&program, to, 0o755)?;
    fs::remove_dir_all(&root)?;
    Ok(())
}

/// Builds the program for a Debian release and packs it.
pub(super) fn make(release: &Release, arch: Arch, number: &str, suite: &str) -> Result<PathBuf> {
    let root = build_root(release, arch, suite)?;
    let (program, depends) = build(&root, arch)?;
    let stage = release.dir.join(format!("deb-codec-{}", arch.debian()));
    sh::fresh(&stage)?;
    stage::copy(&program, &stage.join("usr/bin/vb3-codec"), 0o755)?;
    let doc = stage.join("usr/share/doc/vb3-codec");
    fs::create_dir_all(&doc)?;
    fs::write(doc.join("copyright"), stage::copyright()?)?;
    let licences = licences::text("vb3-avcodec", arch.target())?;
    fs::write(doc.join(stage::THIRD_PARTY), licences)?;
    let name = format!("{}+deb{number}", release.version);
    fs::create_dir_all(stage.join("DEBIAN"))?;
    let control = control(&name, arch, &depends, &stage::kib(&stage)?);
    fs::write(stage.join("DEBIAN/control"), control)?;
    let package = format!("vb3-codec_{name}_{}.deb", arch.debian());
    let package = stage::pack(&stage, &release.dir.join(package))?;
    fs::remove_dir_all(&root)?;
    Ok(package)
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
         Description: libavcodec's codecs for vb3\n \
         Codecs of vb3 for H.264, HEVC, VP8, VP9, MPEG-2, MPEG-4 and AV1, by the libavcodec of this\n \
         system. vb3 run finds the program and starts it for each stream.\n",
        arch.debian(),
        stage::FIELDS,
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
        let text = control("1+deb12", Arch::X86_64, "libavcodec59 (>= 7:5.0)", "100");
        for line in ["Architecture: amd64", "Depends: libavcodec59 (>= 7:5.0)"] {
            assert!(text.lines().any(|have| have == line), "{text}");
        }
        assert!(text.lines().all(|line| !line.is_empty()), "{text}");
    }
}
