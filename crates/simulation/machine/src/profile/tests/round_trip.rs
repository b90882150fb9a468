//! A profile that is written as TOML and read again is unchanged.

use super::super::{
    Allocator, AreaProfile, BounceProfile, IommuProfile, PAGE_SIZES, Profile, mask_of,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use vb3_dma::iopt::Format;
use vb3_dma::{BounceMode, FlushPolicy, SegmentMode};

const FORMATS: [Format; 3] = [Format::VtdSecondStage, Format::ArmLpaeS1, Format::ArmLpaeS2];
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Scales a number to whole pages: the largest number becomes `most` bytes.
fn part(number: u16, most: u64, page: u64) -> u64 {
    let pages = u128::from(most / page) * u128::from(number) / u128::from(u16::MAX);
    pages as u64 * page
}

/// Generates numbers of all lengths, often at the limits of TOML's integers and of `u64`.
fn number() -> impl Strategy<Value = u64> {
    let all = (any::<u64>(), 0_u32..64).prop_map(|(bits, shift)| bits >> shift);
    let ends = [0, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];
    prop_oneof![4 => all, 1 => prop::sample::select(ends.to_vec())]
}

prop_compose! {
    fn iommu()(
        format in prop::sample::select(&FORMATS[..]),
        aperture in any::<prop::sample::Index>(),
        granule in any::<prop::sample::Index>(),
        beside in any::<u64>(),
        mut reserved in prop::collection::vec((number(), number()), 0..=4),
        lazy in any::<bool>(),
        compatible in any::<bool>(),
    ) -> IommuProfile {
        for (first, last) in &mut reserved {
            (*first, *last) = ((*first).min(*last), (*first).max(*last));
        }
        let bits = 20 + aperture.index(format.max_input_bits() as usize - 19) as u32;
        let granules = [12, 14, 16].into_iter();
        let granules: Vec<u32> = granules.filter(|&bits| format.page_sizes(bits) != 0).collect();
        let granule = granules[granule.index(granules.len())];
        let offered = format.page_sizes(granule) & mask_of(bits);
        IommuProfile {
            format,
            page_sizes: 1 << granule | offered & beside,
            aperture_bits: bits,
            reserved,
            flush: if lazy { FlushPolicy::Lazy } else { FlushPolicy::Strict },
            segments: if compatible { SegmentMode::Compatible } else { SegmentMode::Contiguous },
        }
    }
}

/// Generates areas by name: the share of the remaining memory, whether the area has pages, and whether it is
/// protected.
fn areas() -> impl Strategy<Value = BTreeMap<String, (u16, bool, bool)>> {
    let name = "[a-zA-Z0-9_@-][a-zA-Z0-9_@.-]{0,62}";
    let name = name.prop_filter("the name of a heap that vb3 makes by itself", |name| {
        let is_taken = matches!(name.as_str(), "system" | "default_cma_region")
            || name.starts_with("video") && name.ends_with("-sram");
        !is_taken
    });
    prop::collection::btree_map(name, any::<(u16, bool, bool)>(), 0..=16)
}

prop_compose! {
    fn memory()(
        page in prop::sample::select(&PAGE_SIZES[..]),
        ram in any::<u16>(),
        cma in any::<u16>(),
        bounce in any::<(u16, Option<bool>)>(),
        areas in areas(),
        sram in any::<u16>(),
    ) -> Profile {
        let page_size = page.0;
        let ram = 4 * MIB + part(ram, 256 * GIB - 4 * MIB, page_size);
        let mut left = ram.min(3 * GIB) - MIB;
        let mut take = |number, least| {
            let bytes = part(number, left, page_size).max(least);
            left = left.saturating_sub(bytes);
            bytes
        };
        // The pool needs at least a page, so its bytes are taken first.
        let (mode, pool) = match bounce {
            (_, None) => (BounceMode::Never, 0),
            (pool, Some(true)) => (BounceMode::Always, take(pool, page_size)),
            (pool, Some(false)) => (BounceMode::WhenNeeded, take(pool, page_size)),
        };
        let cma = take(cma, 0);
        let mut chip = 512 * MIB;
        let areas = areas.into_iter().filter_map(|(name, (bytes, pages, protected))| {
            let left = if pages { &mut left } else { &mut chip };
            let bytes = part(bytes, *left, page_size).max(page_size);
            // An area needs at least a page. Without room for a page, it is left out.
            *left = left.checked_sub(bytes)?;
            Some(AreaProfile { name, bytes, pages, protected })
        });
        Profile {
            name: "x".to_owned(),
            description: String::new(),
            page_size,
            ram,
            cma,
            cma_heap: (cma > 0 && bounce.0 % 2 == 0).then(|| "linux,cma".to_owned()),
            areas: areas.collect(),
            coherent: true,
            iommu: None,
            iommus: Vec::new(),
            dma_mask_bits: 32,
            max_segment: u64::MAX,
            boundary: u64::MAX,
            bounce: BounceProfile { mode, pool },
            private_memory: false,
            untrusted: false,
            sram: part(sram, 256 * MIB, page_size),
            scattered: true,
            userptr: None,
            allocator: Allocator::Contig,
            devices: Vec::new(),
        }
    }
}

prop_compose! {
    fn profile()(
        mut profile in memory(),
        texts in (".{1,40}", ".{0,40}", prop::collection::vec(".{0,40}", 0..=64)),
        iommu in prop::option::of(iommu()),
        iommus in prop::collection::btree_map(r#"[!#-+\--\[\]-~]{1,200}"#, iommu(), 0..=4),
        dma_mask_bits in 20_u32..=64,
        max_segment in prop::option::of(number()),
        boundary in prop::option::of(prop_oneof![4 => 0_u32..64, 1 => Just(63)]),
        [coherent, scattered, private, untrusted, vmalloc] in any::<[bool; 5]>(),
        userptr in any::<Option<bool>>(),
    ) -> Profile {
        let page = profile.page_size;
        (profile.name, profile.description, profile.devices) = texts;
        profile.iommus = iommus.into_iter().collect();
        profile.dma_mask_bits = dma_mask_bits;
        profile.max_segment = max_segment.map_or(u64::MAX, |bytes| bytes.max(page));
        profile.boundary = boundary.map_or(u64::MAX, |bit| (1_u64 << bit).max(page) - 1);
        (profile.coherent, profile.scattered, profile.userptr) = (coherent, scattered, userptr);
        profile.allocator = if vmalloc { Allocator::Vmalloc } else { Allocator::Contig };
        // The reader requires these combinations of fields.
        let has_pool = profile.bounce.pool > 0;
        let further = profile.iommus.iter().map(|(_, iommu)| iommu);
        let mut all = iommu.iter().chain(further);
        let strict = iommu.is_some() && all.all(|iommu| iommu.flush == FlushPolicy::Strict);
        profile.private_memory = private && has_pool;
        profile.untrusted = untrusted && has_pool && strict;
        if iommu.is_some() {
            profile.sram = 0;
        }
        profile.iommu = iommu;
        profile
    }
}

/// Prints a text between quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// Prints a size as a number, or with the largest unit that fits.
fn size(bytes: u64, with_unit: bool) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "B")];
    let unit = units.iter().find(|&&(shift, _)| bytes % (1 << shift) == 0);
    match unit {
        Some((shift, unit)) if with_unit => quoted(&format!("{}{unit}", bytes >> shift)),
        _ => bytes.to_string(),
    }
}

/// Prints an IOMMU's fields, without those that have their default.
fn print_iommu(out: &mut String, iommu: &IommuProfile, with_unit: bool) {
    let bits = (0..64).filter(|bit| iommu.page_sizes >> bit & 1 == 1);
    let sizes: Vec<String> = bits.map(|bit| size(1 << bit, with_unit)).collect();
    let reserved = iommu.reserved.iter();
    let reserved: Vec<String> = reserved
        .map(|(first, last)| format!("[{first:#x}, {last}]"))
        .collect();
    *out += &format!(
        "format = \"{}\"\npage_sizes = [{}]\naperture = {}\nreserved = [{}]\n",
        iommu.format.name(),
        sizes.join(", "),
        iommu.aperture_bits,
        reserved.join(", ")
    );
    if iommu.flush == FlushPolicy::Lazy {
        *out += "flush = \"lazy\"\n";
    }
    if iommu.segments == SegmentMode::Compatible {
        *out += "segments = \"compatible\"\n";
    }
}

/// Prints a profile as TOML.
fn print(p: &Profile, with_unit: bool) -> String {
    let bytes = |bytes| size(bytes, with_unit);
    let limit = |limit, value| match limit {
        u64::MAX => "\"none\"".to_owned(),
        _ => size(value, with_unit),
    };
    let devices: Vec<String> = p.devices.iter().map(|spec| quoted(spec)).collect();
    let mut out = format!(
        "name = {}\ndescription = {}\npage_size = {}\nram = {}\ncma = {}\ncoherent = {}\n\
         dma_mask = {}\nmax_segment = {}\nboundary = {}\nprivate_memory = {}\nuntrusted = {}\n\
         sram = {}\nscattered = {}\ndevices = [{}]\n",
        quoted(&p.name),
        quoted(&p.description),
        bytes(p.page_size),
        bytes(p.ram),
        bytes(p.cma),
        p.coherent,
        p.dma_mask_bits,
        limit(p.max_segment, p.max_segment),
        limit(p.boundary, p.boundary.wrapping_add(1)),
        p.private_memory,
        p.untrusted,
        bytes(p.sram),
        p.scattered,
        devices.join(", ")
    );
    if let Some(heap) = &p.cma_heap {
        out += &format!("cma_heap = {}\n", quoted(heap));
    }
    if let Some(userptr) = p.userptr {
        out += &format!("userptr = {userptr}\n");
    }
    if p.allocator == Allocator::Vmalloc {
        out += "allocator = \"vmalloc\"\n";
    }
    let mode = match p.bounce.mode {
        BounceMode::Never => None,
        BounceMode::WhenNeeded => Some("when-needed"),
        BounceMode::Always => Some("always"),
    };
    if let Some(mode) = mode {
        let pool = bytes(p.bounce.pool);
        out += &format!("[bounce]\nmode = \"{mode}\"\npool = {pool}\n");
    }
    for area in &p.areas {
        out += &format!(
            "[areas.{}]\nsize = {}\npages = {}\nprotected = {}\n",
            quoted(&area.name),
            bytes(area.bytes),
            area.pages,
            area.protected
        );
    }
    if let Some(iommu) = &p.iommu {
        out += "[iommu]\n";
        print_iommu(&mut out, iommu, with_unit);
    }
    for (name, iommu) in &p.iommus {
        out += &format!("[iommus.{}]\n", quoted(name));
        print_iommu(&mut out, iommu, with_unit);
    }
    out
}

proptest! {
    #[test]
    fn what_is_printed_and_read_again_is_the_same(
        profile in profile(),
        with_unit in any::<bool>(),
    ) {
        let text = print(&profile, with_unit);
        let read = Profile::parse(&text);
        prop_assert_eq!(read.as_ref(), Ok(&profile), "{}", text);
    }
}
