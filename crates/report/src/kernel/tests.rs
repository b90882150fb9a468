use super::print;

/// Returns what is printed for a file with these lines.
fn printed(lines: Option<&str>) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    if let Some(lines) = lines {
        std::fs::create_dir(dir.path().join("vb2-why")).unwrap();
        std::fs::write(dir.path().join("vb2-why/refusals"), lines).unwrap();
    }
    let mut out = Vec::new();
    match print(dir.path(), &mut out) {
        Ok(()) => Ok(String::from_utf8(out).unwrap()),
        Err(e) => Err(format!("{e:#}")),
    }
}

#[test]
fn refusals_are_explained_line_by_line() {
    let text = printed(Some(
        "7 vb3near, a, b s ago: c[12], 3 s ago: a dma-buf, dma-mask: wanted 4402970623, found \
         4294967295, 2 segments, longest 1048576, errno 22; would do: memory below\n\
         8 vb3wide, cat[9], 0 s ago: an allocation, cma-size: wanted 67108864, found 4194304, \
         errno 12; would do: fewer buffers\n",
    ))
    .unwrap();
    assert_eq!(
        text,
        "vb3near refused a dma-buf of a, b s ago: c[12], 3 s ago (dma-mask).\n  \
         The memory ends at 0x1066fffff; the device reaches addresses up to 0xffffffff. Details: \
         2 segments, longest 1048576, errno 22.\n  Instead: memory below.\n\
         vb3wide refused an allocation of cat[9], 0 s ago (cma-size).\n  \
         The device needs 67108864 bytes in one piece; at most 4194304 were free. Details: errno \
         12.\n  Instead: fewer buffers.\n"
    );
}

#[test]
fn unknown_lines_are_printed_without_control_characters() {
    let text = printed(Some("9 new \u{1b}[2J form\n")).unwrap();
    assert_eq!(text, "9 new ?[2J form\n");
}

#[test]
fn a_module_that_is_not_loaded_is_named() {
    let error = printed(None).unwrap_err();
    assert!(error.contains("insmod vb2-why.ko"), "{error}");
}

#[test]
fn no_refusal_is_said() {
    assert!(printed(Some("")).unwrap().contains("refused no buffer"));
}
