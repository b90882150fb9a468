//! Machines with pages of 16 and 64 KiB, as programs see them.

use crate::common::{Run, compiled};

/// Prepares a run on a shipped machine with another page size.
fn with_pages(name: &str, page: u64) -> Run {
    let profile = match name {
        "pc" => include_str!("../../../../simulation/machine/profiles/pc.toml"),
        _ => include_str!("../../../../simulation/machine/profiles/soc-cma.toml"),
    };
    let run = Run::on("pages.toml");
    let text = format!("page_size = {page}\n{profile}");
    std::fs::write(run.file("pages.toml"), text).unwrap();
    run
}

/// Offsets and memory sizes are multiples of the machine's page size, lengths are those of the format, and
/// the program's own pages have the host's size.
#[test]
fn offsets_and_memory_are_in_the_machines_pages() {
    let Some(program) = compiled("pages.c") else {
        return;
    };
    let length = 160 * 120 * 2_u64;
    let host = rustix::param::page_size() as u64;
    for name in ["pc", "soc-cma"] {
        for page in [4 << 10, 16 << 10, 64 << 10] {
            let outcome = with_pages(name, page)
                .device("camera=pattern,size=160x120,format=YUYV")
                .program([&program])
                .run();
            outcome.expect_success();
            outcome.expect_nothing_held();
            let mut told = format!("program: {host}\n");
            for index in 0..3 {
                // Offsets reserve a page for each of eight possible planes.
                let (offset, whole) = (index * 8 * page, length.next_multiple_of(page));
                told +=
                    &format!("buffer {index}: offset {offset} length {length} dma-buf {whole}\n");
            }
            told += &format!("heap: {page}\n");
            assert_eq!(outcome.stdout, told, "{name}, {page:#x}");
        }
    }
}

/// A program's memfds consist of the host's pages.
#[test]
fn memfd_may_have_the_hosts_page_size() {
    let Some(program) = compiled("udmabuf.c") else {
        return;
    };
    let run = |page| {
        let outcome = with_pages("pc", page)
            .device("camera")
            .program([&program])
            .and(["all"])
            .run();
        outcome.expect_success();
        outcome.expect_nothing_held();
        outcome.stdout
    };
    let told = run(64 << 10);
    assert!(told.contains("\nbytes: 16384\nshares: ok\n"), "{told}");
    assert_eq!(told, run(4 << 10));
}
