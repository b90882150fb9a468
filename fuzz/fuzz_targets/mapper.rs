//! A random driver on machines with and without an IOMMU, with injected faults. Nothing remains at
//! the end, unmapped memory is unreachable, and the API's rules hold.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use vb3_fuzz::{Step, run};
use vb3_machine::DeviceLimits;

#[derive(Arbitrary, Debug)]
struct Input {
    format: u8,
    coherent: bool,
    boundary: Option<u8>,
    max_segment: Option<u16>,
    max_segments: Option<u8>,
    steps: Vec<Step>,
}

vb3_fuzz::target!(|input: Input| {
    let iommu = match input.format % 5 {
        0 => "format = \"vt-d\"",
        1 => "format = \"arm-lpae-s1\"",
        2 => "format = \"arm-lpae-s2\"",
        3 => "",
        _ => "none",
    };
    // The IOMMU's smallest page size and its other ones, if the format has a choice.
    let (page, others) = match input.format / 25 % 3 {
        1 if iommu.contains("arm") => (16 << 10, ""),
        2 if iommu.contains("arm") => (64 << 10, ""),
        _ => (4 << 10, ", \"2MiB\""),
    };
    let bounce = format!("[bounce]\nmode = \"when-needed\"\npool = {}", 16 * page);
    // Three of five machines with an IOMMU are of a special kind, and one of five without.
    let (kind, own, more) = match input.format / 5 % 5 {
        0 => ("", "", ""),
        1 => ("untrusted = true", "", &bounce[..]),
        2 => ("", "flush = \"lazy\"", ""),
        3 => ("", "segments = \"compatible\"", ""),
        _ => ("sram = \"256KiB\"", "", ""),
    };
    let table = match iommu {
        "none" => String::new(),
        format => format!(
            "[iommu]\n{format}\npage_sizes = [{page}{others}]\naperture = 24\n{own}\n{more}"
        ),
    };
    // A device without an IOMMU may have its own memory; one behind an IOMMU may be untrusted.
    let kind = if kind.starts_with("sram") == (iommu == "none") {
        kind
    } else {
        ""
    };
    let profile = format!(
        "coherent = {}\ncma = \"8MiB\"\n{kind}\n{table}",
        input.coherent
    );
    let limits = DeviceLimits {
        // A boundary is at least a page, as for every device.
        boundary: input.boundary.map(|bits| (1u64 << (12 + bits % 20)) - 1),
        max_segment: input.max_segment.map(|len| 4096 + u64::from(len)),
        max_segments: input.max_segments.map(|n| u32::from(n).max(1)),
        ..DeviceLimits::default()
    };
    run(&profile, limits, &input.steps);
});
