//! The table of errnos, checked row by row with a real client. `kernel/conformance` has the values.

mod heaps;

use crate::common::{Run, compiled, size_option};
use std::collections::BTreeMap;

/// Expected result of a row: [capture, output] for vmalloc and for dma-contig.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) vmalloc: [String; 2],
    contig: [String; 2],
}

/// The answers to the calls of the kernel's conformance programs, and to further calls. No name is in both.
const TABLES: [&str; 2] = [
    include_str!("../../../../../kernel/conformance/expected"),
    include_str!("../../../../../kernel/conformance/rows"),
];

/// Returns all rows, by name.
pub(crate) fn table() -> BTreeMap<String, Row> {
    let lines = TABLES.iter().flat_map(|table| table.lines()).map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut values = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert_eq!(values.insert(name, value), None, "{name} is listed twice");
    }
    let row = |(name, value): (&&str, &&str)| {
        let output = values.get(&*format!("output.{name}")).unwrap_or(value);
        let (capture, output) = value.split_once(" | ").unwrap_or((value, output));
        let of = |value: &str| match value.split_once('[') {
            Some((vmalloc, contig)) => (
                vmalloc.trim().to_owned(),
                contig.trim_end_matches(']').to_owned(),
            ),
            None => (value.trim().to_owned(), value.trim().to_owned()),
        };
        let ((capture_v, capture_c), (output_v, output_c)) = (of(capture), of(output));
        let row = Row {
            vmalloc: [capture_v, output_v],
            contig: [capture_c, output_c],
        };
        ((*name).to_owned(), row)
    };
    values.iter().map(row).collect()
}

/// Rows in which dma-contig answers as vmalloc does if the device also takes user pointers.
const USER_ROWS: [&str; 5] = [
    "reqbufs.userptr",
    "reqbufs.non-coherent",
    "create.reports",
    "import.of-a-heap",
    "import.of-udmabuf",
];

/// Runs the client on a device, and compares every line.
fn expect_rows(
    machine: &str,
    client: &str,
    direction: usize,
    options: &str,
    words: &[&str],
    at_least: usize,
) {
    let Some(program) = compiled(client) else {
        return;
    };
    let vmalloc = options.contains("vmalloc");
    let mplane = client.contains("mplane");
    let kind = ["camera,identity=plain", "display"][direction];
    // The other device exports buffers of several sizes.
    let other = ["display", "camera,profile=sensor"][direction];
    let planes = if mplane { ",mplane=on" } else { "" };
    let format = if mplane { "NV12M" } else { "YUYV" };
    let outcome = Run::on(machine)
        .device(format!(
            "{kind}{planes},format={format},pace=free,inject=on,{}{options}",
            size_option()
        ))
        .device(format!(
            "{other},format=YUYV,pace=free,{}{options}",
            size_option()
        ))
        .program([program.as_os_str()])
        .and([["cap", "out"][direction], "/dev/video0", "/dev/video1"])
        .and(words)
        .run();
    let table = table();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in outcome.stdout.lines() {
        let (id, value) = line.split_once(' ').unwrap_or((line, ""));
        let row = table.get(id).unwrap_or_else(|| panic!("no row {id}"));
        let wanted = if vmalloc { &row.vmalloc } else { &row.contig };
        // With USERPTR, dma-contig answers as vmalloc does. The machines with an IOMMU offer
        // USERPTR, and accept scattered memory.
        let user = !words.is_empty() && USER_ROWS.contains(&id);
        let wanted = if user {
            &row.vmalloc[direction]
        } else if id == "buf.mmap.private" && exports_by_udmabuf() {
            "EINVAL"
        } else {
            wanted[direction].as_str()
        };
        if value != wanted {
            wrong.push(format!("{id}: {value} instead of {wanted}"));
        }
        seen += 1;
    }
    assert!(
        wrong.is_empty(),
        "{machine} {kind}{planes}{options}:\n{}",
        wrong.join("\n")
    );
    outcome.expect_success();
    assert!(seen >= at_least, "only {seen} rows:\n{}", outcome.stdout);
}

/// Returns whether exports are real dma-bufs of the kernel's udmabuf. These refuse private mappings.
///
/// Source: Linux 6.12 drivers/dma-buf/udmabuf.c `mmap_udmabuf`.
fn exports_by_udmabuf() -> bool {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).open("/dev/udmabuf").is_ok()
}

#[test]
fn table_is_read_with_all_its_columns() {
    let table = table();
    assert_eq!(table["reqbufs.userptr"].vmalloc, ["2", "2"]);
    assert_eq!(table["reqbufs.userptr"].contig, ["EINVAL", "EINVAL"]);
    assert_eq!(
        table["poll.none-queued"].contig,
        ["ret=1 rev=8", "ret=0 rev=0"]
    );
    assert_eq!(
        table["reqbufs.non-coherent"].contig[0],
        "0 caps=115 flags=0"
    );
    assert_eq!(table["mmap.read"].vmalloc, ["0", "EINVAL"]);
    assert!(table.len() > 400, "{}", table.len());
}

#[test]
fn capture_on_dma_contig() {
    expect_rows("soc-cma", "rows.c", 0, ",hints=off", &[], 100);
}

#[test]
fn output_on_dma_contig() {
    expect_rows("soc-cma", "rows.c", 1, ",hints=off", &[], 110);
}

#[test]
fn capture_on_vmalloc() {
    expect_rows(
        "pc",
        "rows.c",
        0,
        ",hints=off,alloc=vmalloc",
        &["userptr"],
        110,
    );
}

#[test]
fn output_on_vmalloc() {
    expect_rows(
        "pc",
        "rows.c",
        1,
        ",hints=off,alloc=vmalloc",
        &["userptr"],
        120,
    );
}

#[test]
fn capture_on_dma_contig_behind_an_iommu() {
    expect_rows(
        "soc-iommu",
        "rows.c",
        0,
        ",hints=off,userptr=on",
        &["userptr"],
        110,
    );
}

#[test]
fn output_on_dma_contig_behind_an_iommu() {
    expect_rows(
        "soc-iommu",
        "rows.c",
        1,
        ",hints=off,userptr=on",
        &["userptr"],
        120,
    );
}

#[test]
fn multi_planar() {
    for options in ["", ",alloc=vmalloc"] {
        expect_rows("soc-noncoherent", "rows_mplane.c", 0, options, &[], 20);
        expect_rows("soc-noncoherent", "rows_mplane.c", 1, options, &[], 23);
    }
}

/// dma-bufs of heaps and udmabuf. `cargo xtask vm process` shows the same rows with the kernel's
/// udmabuf.
#[test]
fn buffers_of_other_drivers() {
    let rows = 2;
    let vmalloc = ",hints=off,alloc=vmalloc";
    for direction in [0, 1] {
        let words = &["userptr"];
        expect_rows(
            "soc-cma",
            "rows_other.c",
            direction,
            ",hints=off",
            &[],
            rows,
        );
        expect_rows("pc", "rows_other.c", direction, vmalloc, words, 2 * rows);
        let iommu = ",hints=off,userptr=on";
        expect_rows(
            "soc-iommu",
            "rows_other.c",
            direction,
            iommu,
            words,
            2 * rows,
        );
    }
}

#[test]
fn devices_that_need_three_buffers() {
    for direction in [0, 1] {
        let options = ",hints=off,min-queued=3";
        expect_rows("soc-cma", "rows.c", direction, options, &["min-queued"], 12);
    }
}
