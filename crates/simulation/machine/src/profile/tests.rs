//! Tests built-in profiles, and errors in other profiles.

mod round_trip;

use super::{Allocator, BUILTINS, FIELDS, Profile};
use vb3_dma::iopt::Format;
use vb3_dma::{BounceMode, FlushPolicy, SegmentMode};

const GOOD: &str = "name = \"mine\"\nram = \"64MiB\"\ncoherent = true\ndma_mask = 32\n";

#[test]
fn every_builtin_parses_and_has_its_file_name() {
    for (name, text) in BUILTINS {
        let profile = Profile::parse(text).unwrap_or_else(|err| panic!("{name}: {err}"));
        assert_eq!(profile.name, *name);
        assert_eq!(Profile::builtin(name), Some(profile.clone()));
        assert!(!profile.description.is_empty());
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.contains(" = "))
        {
            let documented = lines[..i].iter().rev().take(1).any(|l| l.starts_with('#'));
            let named = line.starts_with("name") || line.starts_with("description");
            let in_table = lines[i - 1].starts_with('[');
            assert!(
                documented || named || in_table,
                "{name}: {line} has no comment"
            );
        }
    }
    assert_eq!(Profile::builtin("toaster"), None);
}

#[test]
fn builtins_are_what_they_are_called() {
    let by_name = |name| Profile::builtin(name).unwrap();
    let boundary = by_name("soc-boundary");
    assert_eq!(
        (boundary.boundary, boundary.max_segment),
        ((64 << 10) - 1, 64 << 10)
    );
    let large = by_name("soc-64k");
    assert_eq!((large.coherent, large.userptr), (true, Some(false)));
    let iommu = large.iommu.unwrap();
    assert_eq!(iommu.granule(), 64 << 10);
    assert_eq!(iommu.page_sizes, 1 << 16 | 1 << 29);
    let sram = by_name("soc-sram");
    assert!(sram.sram > 0 && sram.iommu.is_none() && !sram.coherent);
    let untrusted = by_name("pc-untrusted");
    assert!(untrusted.untrusted && untrusted.bounce.pool > 0);
    assert_eq!(by_name("pc").iommu.unwrap().reserved.len(), 1);
    let cma = by_name("soc-cma");
    assert_eq!(
        (cma.cma, cma.iommu, cma.coherent, cma.userptr),
        (64 << 20, None, true, Some(false))
    );
    assert!(by_name("pc").iommu.is_some() && by_name("pc").coherent);
    assert_eq!(
        by_name("pc").iommu.unwrap().page_sizes,
        1 << 12 | 1 << 21 | 1 << 30
    );
    assert!(by_name("soc-iommu").iommu.is_some());
    let formats = ["pc", "soc-iommu", "soc-noncoherent"].map(|n| by_name(n).iommu.unwrap().format);
    assert_eq!(
        formats,
        [Format::VtdSecondStage, Format::ArmLpaeS1, Format::ArmLpaeS2]
    );
    for (name, text) in BUILTINS {
        if let Some(iommu) = by_name(name).iommu {
            let word = format!("format = \"{}\"", iommu.format.name());
            assert!(
                text.contains(&word),
                "{name} uses another name of the format: {word}"
            );
        }
    }
    let deaf = by_name("soc-noncoherent");
    assert!(!deaf.coherent && deaf.iommu.is_some());
    let vm = by_name("vm-bounce");
    assert!(vm.private_memory && vm.bounce.mode == BounceMode::WhenNeeded && vm.bounce.pool > 0);
}

#[test]
fn each_format_of_page_tables_goes_by_its_own_name() {
    for format in Format::ALL {
        let name = format.name();
        let iommu = format!("[iommu]\nformat = \"{name}\"\npage_sizes = [4096]\naperture = 32");
        let profile = Profile::parse(&format!("{GOOD}{iommu}")).expect(name);
        assert_eq!(profile.iommu.map(|iommu| iommu.format), Some(*format));
    }
}

#[test]
fn omitted_fields_have_defaults_sizes_have_units() {
    let profile = Profile::parse(GOOD).unwrap();
    assert_eq!(
        (profile.ram, profile.cma, profile.bounce.mode),
        (64 << 20, 0, BounceMode::Never)
    );
    assert_eq!(
        (profile.max_segment, profile.boundary),
        (u64::MAX, u64::MAX)
    );
    assert_eq!(
        (profile.mask(), profile.allocator),
        (0xffff_ffff, Allocator::Contig)
    );
    assert!(profile.scattered && profile.userptr.is_none());
    let more = format!(
        "{GOOD}cma = 4096\nboundary = \"64 KiB\"\nmax_segment = \"none\"\nallocator = \"vmalloc\"\n\
         iommu = {{ page_sizes = [\"4KiB\", \"1GiB\"], aperture = 40 }}\nbounce = \"none\"\n"
    );
    let profile = Profile::parse(&more).unwrap();
    assert_eq!((profile.cma, profile.boundary), (4096, 0xffff));
    let iommu = profile.iommu.unwrap();
    assert_eq!(
        (iommu.page_sizes, iommu.last()),
        (1 << 12 | 1 << 30, (1 << 40) - 1)
    );
}

#[test]
fn sizes_may_use_all_64_bits() {
    let text = format!(
        "{GOOD}max_segment = {}\nboundary = {}\n",
        u64::MAX - 1,
        1_u64 << 63
    );
    let profile = Profile::parse(&text).unwrap();
    assert_eq!(
        (profile.max_segment, profile.boundary),
        (u64::MAX - 1, i64::MAX as u64)
    );
    for lines in ["cma = ", "[areas]\nown = ", "[areas.own]\nsize = "] {
        let err = Profile::parse(&format!("{GOOD}{lines}{}\n", 1_u64 << 63)).unwrap_err();
        assert!(
            err.message.contains("8589934592 GiB is too much"),
            "{lines}: {err}"
        );
    }
}

#[test]
fn each_mistake_names_its_field_and_line() {
    let cases = [
        (
            "cma = \"65MiB\"",
            "cma",
            "65 MiB is too much: there is room for 63 MiB",
        ),
        ("cma = 4097", "cma", "no multiple"),
        ("cma = -4096", "cma", "invalid value"),
        ("cma = \"6MB\"", "cma", "a size like"),
        ("cma = \"99999999999GiB\"", "cma", "a size like"),
        ("cma = true", "cma", "invalid type"),
        (
            "page_size = \"8KiB\"",
            "page_size",
            "a page has 4 KiB or 16 KiB or 64 KiB, not 8 KiB",
        ),
        (
            "page_size = \"64KiB\"\ncma = \"48KiB\"",
            "cma",
            "no multiple of the page size 65536",
        ),
        (
            "page_size = \"64KiB\"\nmax_segment = \"32KiB\"",
            "max_segment",
            "32 KiB is less than a page",
        ),
        (
            "page_size = \"64KiB\"\nboundary = \"32KiB\"",
            "boundary",
            "32 KiB is less than a page",
        ),
        ("max_segment = 100", "max_segment", "less than a page"),
        ("boundary = \"48KiB\"", "boundary", "no power of two"),
        ("boundary = 0", "boundary", "no power of two"),
        ("iommu = \"yes\"", "iommu", "\"none\" or a table"),
        ("[iommu]\naperture = 32", "page_sizes", "missing field"),
        (
            "[iommu]\npage_sizes = [\"2MiB\"]\naperture = 32",
            "iommu.page_sizes",
            "must be 4 KiB, not 2 MiB",
        ),
        (
            "[iommu]\npage_sizes = [\"64KiB\"]\naperture = 32",
            "iommu.page_sizes",
            "must be 4 KiB, not 64 KiB",
        ),
        (
            "[iommu]\npage_sizes = []\naperture = 32",
            "iommu.page_sizes",
            "must be 4 KiB, not 0 bytes",
        ),
        (
            "[iommu]\nformat = \"arm-lpae-s2\"\npage_sizes = [\"2MiB\"]\naperture = 32",
            "iommu.page_sizes",
            "must be 4 KiB or 16 KiB or 64 KiB",
        ),
        (
            "[iommu]\nformat = \"arm-lpae-s1\"\npage_sizes = [\"64KiB\", \"2MiB\"]\naperture = 32",
            "iommu.page_sizes",
            "2 MiB is no page size beside 64 KiB: 64 KiB or 512 MiB",
        ),
        (
            "[iommu]\npage_sizes = [\"4KiB\", 12288]\naperture = 32",
            "page_sizes",
            "12 KiB is no page size, which is a power of two",
        ),
        (
            "[iommu]\npage_sizes = [\"4KiB\", \"1GiB\"]\naperture = 30",
            "iommu.page_sizes",
            "1 GiB is no page size beside 4 KiB: 4 KiB or 2 MiB",
        ),
        (
            "[iommu]\npage_sizes = [\"4KiB\"]\naperture = 90",
            "iommu.aperture",
            "not between",
        ),
        (
            "[iommu]\npage_sizes = [\"4KiB\"]\naperture = 32\nsize = 1",
            "size",
            "unknown field",
        ),
        (
            "[iommu]\npage_sizes = [\"4KiB\"]\naperture = 32\nformat = \"sparc\"",
            "format",
            "unknown variant",
        ),
        (
            "[iommu]\nformat = \"arm-lpae-s1\"\npage_sizes = [\"4KiB\"]\naperture = 49",
            "iommu.aperture",
            "not between 20 and 48",
        ),
        ("bounce = \"always\"", "bounce", "\"none\" or a table"),
        (
            "[bounce]\nmode = \"never\"\npool = 4096",
            "mode",
            "unknown variant",
        ),
        (
            "[iommu]\nformat = \"sv39\"\npage_sizes = [\"4KiB\"]\naperture = 32",
            "format",
            "expected one of `vt-d`, `arm-lpae-s1`, `arm-lpae-s2`",
        ),
        (
            "[bounce]\nmode = \"always\"\npool = 0",
            "bounce.pool",
            "less than",
        ),
        ("private_memory = true", "private_memory", "bounce pool"),
        ("untrusted = true", "untrusted", "needs an IOMMU"),
        ("untrusted = 1", "untrusted", "invalid type"),
        ("sram = 5000", "sram", "no multiple"),
        ("[areas]\nvpu = 5000", "areas.vpu", "no multiple"),
        (
            "[areas.ocram]\nsize = \"513MiB\"\npages = false",
            "areas.ocram",
            "room for",
        ),
        (
            "[areas]\nvideo0-sram = \"1MiB\"",
            "areas.video0-sram",
            "that vb3 makes",
        ),
        (
            "[areas]\na = \"40MiB\"\nb = \"40MiB\"",
            "areas.b",
            "room for",
        ),
        (
            "[areas]\n\"a/b\" = \"1MiB\"",
            "areas.a/b",
            "is no name of up to",
        ),
        (
            "[areas]\nsystem = \"1MiB\"",
            "areas.system",
            "a heap that vb3 makes",
        ),
        ("sram = \"1GiB\"", "sram", "room for"),
        ("flush = \"lazy\"", "flush", "unknown field"),
        ("allocator = \"slab\"", "allocator", "unknown variant"),
        ("colour = \"red\"", "colour", "unknown field"),
        ("userptr = \"maybe\"", "userptr", "invalid type"),
        ("scattered = 1", "scattered", "invalid type"),
    ];
    for (line, field, message) in cases {
        let err = Profile::parse(&format!("{GOOD}{line}\n")).expect_err(line);
        assert_eq!(err.field.as_deref(), Some(field), "{line}: {err}");
        assert!(err.message.contains(message), "{line}: {err}");
        // Tables have different line numbers. Every mistake is on the fifth line or after it.
        let expected = 5 + line.lines().count() - 1;
        if !line.starts_with('[') {
            assert_eq!(err.line, expected, "{line}: {err}");
        }
        assert!(err.line >= 5, "{line}: {err}");
        assert!(
            err.to_string()
                .starts_with(&format!("line {}: {field}: ", err.line))
        );
    }
    let on_lines = [
        ("[bounce]\nmode = \"always\"\npool = 0", 7),
        ("[iommu]\npage_sizes = [\"4KiB\"]\naperture = 90", 7),
        ("[areas]\na = 4096\nb = 5000", 7),
        ("[areas.\"a.b\"]\nsize = 5000", 5),
        ("[iommu]\npage_sizes = [\"64KiB\"]\naperture = 32", 6),
        (
            "[iommu]\npage_sizes = [\"4KiB\"]\naperture = 32\nsize = 1",
            8,
        ),
    ];
    for (lines, line) in on_lines {
        assert_eq!(
            Profile::parse(&format!("{GOOD}{lines}")).unwrap_err().line,
            line,
            "{lines}"
        );
    }
}

/// Makes a profile with an IOMMU, and lines before and after the IOMMU's table.
fn with_iommu(before: &str, behind: &str) -> String {
    format!("{GOOD}{before}\n[iommu]\npage_sizes = [\"4KiB\"]\naperture = 32\n{behind}\n")
}

#[test]
fn ways_of_an_iommu_are_read() {
    let plain = Profile::parse(&with_iommu("", "")).unwrap().iommu.unwrap();
    assert_eq!(
        (plain.flush, plain.segments, &plain.reserved[..]),
        (FlushPolicy::Strict, SegmentMode::Contiguous, &[][..])
    );
    let lines =
        "flush = \"lazy\"\nsegments = \"compatible\"\nreserved = [[0x1000, 0x1fff], [7, 7]]";
    let own = Profile::parse(&with_iommu("", lines)).unwrap();
    let own = own.iommu.unwrap();
    assert_eq!(
        (own.flush, own.segments, &own.reserved[..]),
        (
            FlushPolicy::Lazy,
            SegmentMode::Compatible,
            &[(0x1000, 0x1fff), (7, 7)][..]
        )
    );
}

#[test]
fn ways_that_do_not_go_together_are_refused() {
    let pool = "[bounce]\nmode = \"when-needed\"\npool = 4096";
    let many = format!("reserved = [{}]", "[1, 1], ".repeat(65));
    for (before, behind, field, message) in [
        ("untrusted = true", "", "untrusted", "needs a bounce pool"),
        ("sram = 4096", "", "sram", "not behind an IOMMU"),
        (
            "untrusted = true",
            &format!("flush = \"lazy\"\n{pool}"),
            "iommu.flush",
            "flushed at once",
        ),
        (
            "untrusted = true",
            &format!("{pool}\n[iommus.gpu]\npage_sizes = [4096]\naperture = 32\nflush = \"lazy\""),
            "iommus.gpu.flush",
            "flushed at once",
        ),
        ("", "reserved = [[2, 1]]", "iommu.reserved", "after its end"),
        ("", &many, "iommu.reserved", "more than 64"),
        ("", "flush = \"never\"", "flush", "unknown variant"),
        ("", "segments = \"any\"", "segments", "unknown variant"),
    ] {
        let err = Profile::parse(&with_iommu(before, behind)).expect_err(behind);
        assert_eq!(err.field.as_deref(), Some(field), "{err}");
        assert!(err.message.contains(message), "{err}");
    }
    Profile::parse(&with_iommu("untrusted = true", pool)).unwrap();
}

#[test]
fn what_is_no_profile_at_all_is_an_error_with_a_line() {
    for (text, line) in [
        ("", 1),
        ("name = ", 1),
        ("\n\nname == 3", 3),
        ("[[[", 1),
        ("\u{0}", 1),
    ] {
        assert_eq!(Profile::parse(text).unwrap_err().line, line, "{text:?}");
    }
    let missing = GOOD.replace("ram", "rum");
    let err = Profile::parse(&missing).unwrap_err();
    assert_eq!((err.field.as_deref(), err.line), (Some("rum"), 2));
    let tiny = GOOD.replace("64MiB", "4KiB");
    assert_eq!(
        Profile::parse(&tiny).unwrap_err().field.as_deref(),
        Some("ram")
    );
    let nameless = GOOD.replace("mine", "");
    assert_eq!(
        Profile::parse(&nameless).unwrap_err().field.as_deref(),
        Some("name")
    );
    let narrow = GOOD.replace("32", "12");
    assert_eq!(
        Profile::parse(&narrow).unwrap_err().field.as_deref(),
        Some("dma_mask")
    );
}

/// docs/machines.md has the table of all fields. VB3_WRITE_PAGES=1 writes it.
#[test]
fn the_page_has_all_fields() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/machines.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (start, end) = ("<!-- fields of a profile -->\n", "<!-- end -->");
    let (before, rest) = page.split_once(start).expect("the table's place");
    let (_, after) = rest.split_once(end).expect("the table's end");
    let rows = FIELDS
        .iter()
        .map(|(name, what)| format!("| `{name}` | {what} |\n"));
    let table = format!("| key | meaning |\n|---|---|\n{}", rows.collect::<String>());
    let wanted = format!("{before}{start}{table}{end}{after}");
    if std::env::var_os("VB3_WRITE_PAGES").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let is_same = std::fs::read_to_string(path).unwrap() == wanted;
    assert!(is_same, "the table is old; VB3_WRITE_PAGES=1 writes it");
}

#[test]
fn every_field_that_parses_is_documented() {
    let err = Profile::parse(&format!("{GOOD}colour = 1\n")).unwrap_err();
    let known: Vec<&str> = err.message.split('`').skip(3).step_by(2).collect();
    assert!(known.len() > 10, "{}", err.message);
    for field in known {
        assert!(FIELDS.iter().any(|(name, _)| *name == field), "{field}");
    }
}

#[test]
fn devices_are_kept_as_they_stand_and_bounded() {
    let text = |devices: &str| {
        format!("name = \"x\"\nram = \"64MiB\"\ncoherent = true\ndma_mask = 32\n{devices}")
    };
    assert!(Profile::parse(&text("")).unwrap().devices.is_empty());
    let two = Profile::parse(&text("devices = [\"camera\", \"anything,x=y\"]")).unwrap();
    assert_eq!(two.devices, ["camera", "anything,x=y"]);
    let many = format!("devices = [{}]", "\"camera\",".repeat(65));
    let err = Profile::parse(&text(&many)).unwrap_err().to_string();
    assert!(
        err.contains("line 5") && err.contains("65 devices are more than 64"),
        "{err}"
    );
}

#[test]
fn further_iommus_have_names_and_lines() {
    let base = "name = \"x\"\nram = \"64MiB\"\ncoherent = true\ndma_mask = 32\niommu = \"none\"\n";
    let iommu = "page_sizes = [\"4KiB\"]\naperture = 32\n";
    let text = format!(
        "{base}[iommus.\"/soc/iommu@2000\"]\n{iommu}[iommus.large]\nformat = \"arm-lpae-s1\"\n\
         page_sizes = [\"64KiB\"]\naperture = 40\n"
    );
    let profile = Profile::parse(&text).unwrap();
    assert!(profile.iommu.is_none());
    let last = |name| {
        let at = profile.iommu_named(name).unwrap();
        profile.iommus[at].1.last()
    };
    assert_eq!(
        (last("/soc/iommu@2000"), last("large")),
        (u64::from(u32::MAX), (1 << 40) - 1)
    );
    assert_eq!(profile.iommu_named("small"), None);
    assert_eq!(profile.granule(), 64 << 10);
    for (lines, line, said) in [
        ("[iommus.\"a,b\"]\n".to_owned() + iommu, 6, "no commas"),
        ("[iommus.\"\"]\n".to_owned() + iommu, 6, "no commas"),
        ("[iommus.a]\naperture = 32\n".to_owned(), 6, "missing field"),
        (
            format!("[iommus.a]\n{}", iommu.replace("32", "70")),
            8,
            "70 is not between",
        ),
    ] {
        let e = Profile::parse(&format!("{base}{lines}")).unwrap_err();
        assert!(
            e.line == line && e.to_string().contains(said),
            "{lines}: {e}"
        );
    }
    let many: String = (0..65)
        .map(|n| format!("[iommus.n{n:02}]\n{iommu}"))
        .collect();
    let e = Profile::parse(&format!("{base}{many}")).unwrap_err();
    assert!(e.to_string().contains("more than 64"), "{e}");
}
