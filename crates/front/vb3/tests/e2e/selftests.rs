//! Linux's unmodified selftests of sync files, heaps and udmabuf, from the kernel source in
//! `VB3_KERNEL_SOURCE` or in Debian's package linux-source.

use crate::common::{Run, lacks};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directories of the source that the tests need.
const PARTS: [&str; 4] = [
    "tools/testing/selftests/kselftest*.h",
    "tools/testing/selftests/sync/*",
    "tools/testing/selftests/dmabuf-heaps/*",
    "tools/testing/selftests/drivers/dma-buf/*",
];

/// Returns whether a file is `linux-source-MAJOR.MINOR.tar.xz` of Linux 6.12 or newer: before, there were fewer tests.
fn is_new_enough(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let version = name.and_then(|name| name.strip_prefix("linux-source-")?.strip_suffix(".tar.xz"));
    let numbers = version.and_then(|version| version.split_once('.'));
    let numbers = numbers.map(|(major, minor)| (major.parse::<u32>(), minor.parse::<u32>()));
    matches!(numbers, Some((Ok(major), Ok(minor))) if (major, minor) >= (6, 12))
}

/// Unpacks these parts of the kernel source. Returns their directory, or prints that there is no
/// source.
fn source(into: &Path) -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("VB3_KERNEL_SOURCE") {
        return Some(given.into());
    }
    let archive = std::fs::read_dir("/usr/src").ok().and_then(|entries| {
        let names = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut found: Vec<PathBuf> = names.filter(|path| is_new_enough(path)).collect();
        found.sort();
        found.pop()
    });
    let Some(archive) = archive else {
        vb3_skip::elsewhere(
            "no source of Linux 6.12 or newer; Debian 13's linux-source has it, or \
             VB3_KERNEL_SOURCE=DIR names it",
        );
        return None;
    };
    let mut tar = Command::new("tar");
    tar.arg("-xJf").arg(&archive).arg("-C").arg(into);
    tar.args(["--strip-components=1", "--wildcards"]);
    tar.args(PARTS.map(|part| format!("*/{part}")));
    tar.arg("*/include/uapi/drm/*");
    let out = tar.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {said}", archive.display());
    Some(into.to_owned())
}

/// Compiles all C files of a selftest.
fn build(source: &Path, test: &str, into: &Path) -> PathBuf {
    let dir = source.join("tools/testing/selftests").join(test);
    let entries = std::fs::read_dir(&dir).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let binary = into.join(test.replace('/', "-"));
    let out = Command::new("gcc")
        // Uses headers straight from the source; an installation would remove `__user`.
        .args(["-O2", "-w", "-pthread", "-D__user=", "-idirafter"])
        .arg(source.join("include/uapi"))
        .arg("-o")
        .arg(&binary)
        .args(files.filter(|file| file.extension().is_some_and(|ext| ext == "c")))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{test}: {said}");
    binary
}

/// Returns the results in a test's output (TAP).
fn results(stdout: &str) -> Vec<&str> {
    let words = ["ok ", "not ok "];
    let lines = stdout.lines();
    lines
        .filter(|line| words.iter().any(|word| line.starts_with(word)))
        .collect()
}

#[test]
fn linuxs_selftests_of_sharing_run_unmodified() {
    if lacks("gcc") || lacks("xz") {
        return;
    }
    let dir = crate::common::tempdir();
    let Some(source) = source(dir.path()) else {
        return;
    };
    let run = |test: &str, machine: &str| {
        let program = build(&source, test, dir.path());
        let run = Run::on(machine).device("camera").program([&program]);
        run.run()
    };

    let sync = run("sync", "pc");
    let told = results(&sync.stdout);
    assert!(told.iter().all(|line| line.starts_with("ok ")), "{told:?}");
    assert_eq!(told.len(), 10, "{}{}", sync.stdout, sync.stderr);
    sync.expect_success();

    // A test of importing needs the kernel's driver vgem and is skipped without it.
    let heaps = run("dmabuf-heaps", "soc-cma");
    let told = results(&heaps.stdout);
    let skipped = told
        .iter()
        .filter(|line| line.contains("SKIP"))
        .collect::<Vec<_>>();
    assert!(told.iter().all(|line| line.starts_with("ok ")), "{told:?}");
    assert_eq!((told.len(), skipped.len()), (22, 2), "{}", heaps.stdout);
    assert!(
        skipped.iter().all(|line| line.contains("vgem")),
        "{skipped:?}"
    );
    heaps.expect_success();

    // Two tests make one dma-buf of several parts, which needs the host's /dev/udmabuf. The message
    // names what is missing.
    let udmabuf = run("drivers/dma-buf", "pc");
    let told = results(&udmabuf.stdout);
    let passed = told.iter().filter(|line| line.starts_with("ok ")).count();
    if Path::new("/dev/udmabuf").exists() {
        assert_eq!(passed, 6, "{}", udmabuf.stdout);
    } else {
        assert_eq!(passed, 4, "{}", udmabuf.stdout);
        assert!(
            udmabuf.stderr.contains("a dma-buf of several parts"),
            "{}",
            udmabuf.stderr
        );
    }
    udmabuf.expect_nothing_held();
}
