use super::{print, unreadable};
use std::io::{Error, ErrorKind};

#[test]
fn printed_text_has_no_control_characters() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("vb2-why")).unwrap();
    let text =
        "vb3near refused a dma-buf of new \u{1b}[2J[12], 3 s ago (dma-mask).\n  The memory\n";
    std::fs::write(dir.path().join("vb2-why/why"), text).unwrap();
    let mut out = Vec::new();
    print(dir.path(), &mut out).unwrap();
    let printed = String::from_utf8(out).unwrap();
    assert_eq!(printed, text.replace('\u{1b}', "?"));
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
