//! Builds the kernel modules, and other programs for the guests.

use super::lab::{Lab, arch_of, is_checked};
use crate::arch::Arch;
use crate::sh::{self, cmd};
use crate::step;
use anyhow::{Context as _, Result};
use fs_err as fs;
use std::path::{Path, PathBuf};

/// Chooses the kernel crate and its dependencies for cargo.
pub(crate) const KERNEL: &str = "--manifest-path kernel/Cargo.toml";

/// Copies the sources to `$1`. `$2` is the work directory, and `$3` the source of bitflags.
const COPY: &str = r#"rm -rf "$1"; mkdir -p "$1/crates/core" "$2/rust"
cp -r kernel docs/upstream "$1/"
cp kernel/conformance/*.[ch] crates/front/vb3/tests/programs/rows*.h crates/front/vb3/tests/programs/*other.[ch] \
    "$1/kernel/lab/programs/"
cp -r crates/core/dma crates/core/dmabuf crates/core/plane "$1/crates/core/"; cp -r "$3" "$1/bitflags""#;

pub(crate) fn sources(lab: &Lab) -> Result<()> {
    let work = lab.work();
    // bitflags is the only crate of another project that the module links.
    let bitflags = sh::field(KERNEL, "bitflags", "manifest_path")?;
    let bitflags = Path::new(&bitflags).parent();
    let bitflags = bitflags.context("bitflags has no directory")?;
    let mut copy = cmd!("sh -euc {COPY} sh {work}/src {work} {bitflags}");
    let copy = copy.current_dir(sh::root());
    step::run("copying the sources", 60, copy)
}

/// Builds the object file of the kernel crate for an architecture, and the programs of its guests.
pub(crate) fn common(lab: &Lab, arch: Arch) -> Result<()> {
    object(lab, arch, None)?;
    let name = arch.name();
    let what = format!("building the programs of {name}'s guests");
    let line = format!("programs.sh /work/src/kernel/lab {name} /work/programs-{name}");
    lab.step(&what, 900, &line)
}

pub(crate) fn programs(lab: &Lab, arch: Arch) -> PathBuf {
    lab.work().join(format!("programs-{}", arch.name()))
}

/// Returns the directory of the kernel crate's object file (the Rust object), inside the build root.
pub(crate) fn object_dir(arch: Arch, checker: Option<&str>) -> String {
    let end = checker.map(|checker| format!("-{checker}"));
    format!("/work/rust-{}{}", arch.name(), end.unwrap_or_default())
}

/// Builds the Rust object. `checker` is a checker of the kernel (`kasan`), if one is used.
pub(crate) fn object(lab: &Lab, arch: Arch, checker: Option<&str>) -> Result<()> {
    let out = object_dir(arch, checker);
    let name = [arch.name(), checker.unwrap_or_default()].join(" ");
    let name = name.trim_end();
    let what = format!("building the Rust object of {name}");
    let line = format!("rust-object.sh /work/src {out} {name}");
    lab.step(&what, 900, &line)
}

/// Builds `vb3` and the driver over VFIO for the guest, with this system's own compiler. The guest's system can run
/// these programs, because this system is usually the older one.
pub(crate) fn process(lab: &Lab) -> Result<()> {
    let (to, built) = (user_programs(lab), sh::target().join("release"));
    fs::create_dir_all(&to)?;
    for name in ["vb3", "vfio-edu"] {
        let build = format!("build --release --package {name} --bin {name}");
        sh::run(sh::cargo(&build))?;
        fs::copy(built.join(name), to.join(name))?;
    }
    Ok(())
}

pub(crate) fn user_programs(lab: &Lab) -> PathBuf {
    lab.work().join("process")
}

/// Builds the modules for a kernel, and packs the modules of the kernel itself. With `fails`, our modules
/// can fail on request, for tests.
pub(crate) fn modules(lab: &Lab, kernel: &str, fails: bool) -> Result<()> {
    let out = format!("/work/{kernel}");
    let object = object_dir(arch_of(kernel), is_checked(kernel).then_some("kasan"));
    let arch = arch_of(kernel).name();
    let flags = if fails { " -DVB3_FAILS" } else { "" };
    let what = format!("building the modules for {kernel}");
    let line = format!("module.sh /work/src {object} {arch} {kernel} {out}{flags}");
    lab.step(&what, 900, &line)?;
    let what = format!("building the test driver for {kernel}");
    let line = format!("driver.sh /work/src/kernel/lab {out} {arch} {kernel}");
    lab.step(&what, 900, &line)?;
    if !lab.kernel(kernel, "vmlinuz").exists() {
        // Modules are only compiled for this kernel.
        return Ok(());
    }
    let name = lab.packed()?;
    // The lock is needed only if the modules are not packed yet.
    let is_packed = || lab.kernel(kernel, &name).exists();
    let _lock = match is_packed() {
        true => return Ok(()),
        false => lab.lock()?,
    };
    if is_packed() {
        return Ok(());
    }
    let what = format!("packing the modules of {kernel}");
    let line = format!("make-modules.sh {kernel} /kernels/{kernel}/{name}");
    lab.step(&what, 900, &line)
}

/// Builds the C modules with the patches of docs/upstream.
pub(crate) fn patched(lab: &Lab, kernel: &str) -> Result<()> {
    let what = format!("building the C modules with patches for {kernel}: about 160 MB to load");
    let line = format!("patched.sh /work/src/upstream {kernel} /work/{kernel}");
    lab.step(&what, 900, &line)
}

/// Builds the drivers that Debian's kernels leave out, from the kernel's source.
pub(crate) fn peers(lab: &Lab, kernel: &str) -> Result<()> {
    let _lock = lab.lock()?;
    let out = lab.peers(kernel)?;
    if out.exists() {
        return Ok(());
    }
    let arch = arch_of(kernel).name();
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let what = format!("building vimc, vim2m, vicodec and vkms for {kernel}: about 160 MB to load");
    let line = format!("peers.sh /work/src/kernel/lab {arch} {kernel} /kernels/{kernel}/{name}");
    lab.step(&what, 900, &line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn upstream() -> Vec<(String, String)> {
        let mut patches = Vec::new();
        for entry in fs::read_dir(sh::root().join("docs/upstream")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "patch") {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                patches.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
        patches
    }

    #[test]
    fn upstream_patches_name_no_sender() {
        const SENDER: &str = "SENDER <sender@example.invalid>";
        for (name, patch) in upstream() {
            let (head, _diff) = patch.split_once("\n---\n").unwrap();
            let of = |key: &str| -> Vec<&str> {
                let key = format!("{key}: ");
                head.lines().filter_map(|l| l.strip_prefix(&key)).collect()
            };
            assert_eq!(of("From"), [SENDER], "{name}");
            assert_eq!(of("Signed-off-by"), [SENDER], "{name}");
            let subject = of("Subject")[0];
            let is_fix = !subject.contains("RFC") && !subject.contains("selftests:");
            let (fixes, cc) = (of("Fixes").len(), of("Cc"));
            assert_eq!(fixes, usize::from(is_fix), "{name}");
            let stable: &[&str] = if is_fix {
                &["stable@vger.kernel.org"]
            } else {
                &[]
            };
            assert_eq!(cc, stable, "{name}");
        }
    }

    #[test]
    fn upstream_series_lists_all_patches() {
        let series = fs::read_to_string(sh::root().join("docs/upstream/series")).unwrap();
        let listed = series.lines().filter_map(|l| l.split(' ').next());
        let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
        let found: BTreeSet<String> = upstream().into_iter().map(|(name, _)| name).collect();
        assert_eq!(listed, found);
        assert!(found.len() > 5);
    }

    #[test]
    fn upstream_patches_are_filled_in_for_a_person_only() {
        let dir = sh::target().join(format!("fill-in-test-{}", std::process::id()));
        let linux = dir.join("linux");
        fs::create_dir_all(linux.join("drivers/media")).unwrap();
        let script = sh::root().join("docs/upstream/fill-in.sh");
        let fill_in = |who: &str, out: &Path| {
            let mut fill_in = cmd!("sh {script} {who} {linux} {out}");
            let output = fill_in.output().unwrap();
            (
                output.status.success(),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        let who = "Ada Lovelace <ada@lovelace.org>";
        for bad in [
            "Ada",
            "<ada@lovelace.org>",
            "A B <a@users.noreply.github.com>",
        ] {
            assert!(!fill_in(bad, &dir.join("bad")).0, "{bad}");
        }
        let git = |line: &str| {
            let mut git = cmd!("git -C {linux} -c user.name=a -c user.email=a@b.c");
            sh::quietly(git.args(line.split('|'))).unwrap();
        };
        git("init|-q");
        git("commit|-q|--allow-empty|-m|another commit");
        let (is_good, why) = fill_in(who, &dir.join("none"));
        assert!(!is_good && why.contains("has no commit"), "{why}");
        for (number, subject) in [
            "[media] vb2-vmalloc: add support for dmabuf exports",
            "[media] v4l: vb2-dma-contig: add support for dma_buf importing",
        ]
        .into_iter()
        .enumerate()
        {
            fs::write(linux.join("drivers/media/file"), number.to_string()).unwrap();
            git("add|.");
            git(&format!("commit|-q|-m|{subject}"));
        }
        let out = dir.join("out");
        assert_eq!(fill_in(who, &out), (true, String::new()));
        for (name, _) in upstream() {
            let text = fs::read_to_string(out.join(&name)).unwrap();
            assert!(text.contains(&format!("Signed-off-by: {who}")), "{name}");
            assert!(!text.contains("Fixes: 000000000000"), "{name}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
