use super::{print, unreadable};
use std::io::{Error, ErrorKind};

/// Returns what is printed for files with these lines.
fn printed(refusals: &str, buffers: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("vb2-why");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("refusals"), refusals).unwrap();
    std::fs::write(files.join("buffers"), buffers).unwrap();
    let mut out = Vec::new();
    print(dir.path(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn refusals_are_explained_line_by_line() {
    let text = printed(
        "vb3near: DMABUF, 1048576 bytes, by a, b s ago: c[12], 3 s ago: dma-mask: wanted 4402970623, \
         found 4294967295, 2 segments, longest 1048576, errno 22\n\
         0000:00:04.0: MMAP, 67108864 bytes, by cat[9], 0 s ago: cma-size: wanted 67108864, found \
         4194304, 0 segments, longest 0, errno 12\n",
        "vb3near: MMAP, 4096 bytes, by cat[9], references 2, inode 7\n",
    );
    assert_eq!(
        text,
        "vb3near refused a dma-buf of a, b s ago: c[12], 3 s ago (dma-mask).\n  \
         The memory ends at 0x1066fffff; the device reaches addresses up to 0xffffffff. Details: \
         2 segments, longest 1048576, EINVAL.\n  Instead: memory up to the address found: a buffer \
         that this device allocates.\n\
         0000:00:04.0 refused an allocation of cat[9], 0 s ago (cma-size).\n  \
         The device needs 67108864 bytes in one piece; at most 4194304 were possible. Details: \
         0 segments, longest 0, ENOMEM.\n  Instead: smaller or fewer buffers, or more contiguous \
         memory that this device reaches (cma=).\n\
         Buffers held now:\nvb3near: MMAP, 4096 bytes, by cat[9], references 2, inode 7\n"
    );
}

#[test]
fn a_full_bounce_pool_is_told_from_a_long_segment() {
    let line = |wanted: u32| {
        let text = format!(
            "near: USERPTR, 262144 bytes, by a[1], 0 s ago: bounce-pool: wanted {wanted}, \
             found 262144, 1 segments, longest {wanted}, errno 5\n"
        );
        printed(&text, "")
    };
    let (full, long) = (line(262_144), line(262_145));
    assert!(full.contains("no room for segments of up to 262144 bytes"));
    assert!(long.contains("A segment has 262145 bytes; a bounce has at most 262144."));
}

#[test]
fn unknown_lines_lose_control_characters() {
    let text = printed("new \u{1b}[2J form\n", "");
    assert_eq!(text, "new ?[2J form\n");
}

#[test]
fn no_refusal_is_said() {
    assert!(printed("", "").contains("refused no buffer"));
}

/// Returns the message for a debugfs with these entries; with `None`, for a missing debugfs.
fn message(entries: Option<&[&str]>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let debugfs = dir.path().join("debug");
    if let Some(entries) = entries {
        std::fs::create_dir(&debugfs).unwrap();
        for entry in entries {
            std::fs::create_dir(debugfs.join(entry)).unwrap();
        }
    }
    format!("{:#}", print(&debugfs, &mut Vec::new()).unwrap_err())
}

#[test]
fn a_module_that_is_not_loaded_is_named() {
    let error = message(Some(&["dma_buf"]));
    assert!(error.contains("vb2-why is not loaded"), "{error}");
    assert!(error.contains("sudo insmod vb2-why.ko"), "{error}");
}

#[test]
fn debugfs_that_is_not_mounted_is_said() {
    let error = message(Some(&[]));
    assert!(error.contains("sudo mount -t debugfs debugfs"), "{error}");
    assert!(!error.contains("insmod"), "{error}");
}

#[test]
fn a_kernel_without_debugfs_is_told_apart() {
    let error = message(None);
    assert!(error.contains("this kernel has no debugfs"), "{error}");
}

#[test]
fn a_user_without_rights_is_told_to_use_sudo() {
    let dir = tempfile::tempdir().unwrap();
    let error = Error::from(ErrorKind::PermissionDenied);
    let error = unreadable(error, dir.path(), dir.path()).to_string();
    assert!(error.contains("only root may read"), "{error}");
    assert!(error.contains("sudo vb3 why --kernel"), "{error}");
    assert!(!error.contains("mount"), "{error}");
}
