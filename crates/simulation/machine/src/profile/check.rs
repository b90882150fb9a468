//! Checks a profile that was read, and finds the lines of its mistakes.

use super::{
    AreaProfile, BounceProfile, HOLE, IommuProfile, PAGE_SIZES, Profile, ProfileError, RESERVED,
    line_of, mask_of, show,
};
use std::ops::RangeInclusive;
use toml::de::DeTable;
use vb3_dma::{FlushPolicy, RangeAllocator};

/// Maximum bytes of RAM: the map of its frames must fit in the process.
const MAX_RAM: u64 = 256 << 30;
/// Minimum bytes of RAM.
const MIN_RAM: u64 = 4 << 20;
/// Maximum number of devices that a profile names.
const MAX_DEVICES: usize = 64;
/// Maximum number of IOMMUs besides the default one.
const MAX_IOMMUS: usize = 64;
/// Maximum number of reserved areas, and of letters in an area's name.
const MAX_AREAS: usize = 16;
const MAX_AREA_NAME: usize = 63;
/// Maximum length of an IOMMU's name.
const MAX_NAME: usize = 200;
/// Maximum bytes of a device's own memory.
const MAX_SRAM: u64 = 256 << 20;
/// Maximum bytes of on-chip memory, in areas without struct pages.
const MAX_CHIP: u64 = 512 << 20;

/// The keys that lead to a field with a wrong value, and the message.
type Mistake = (Vec<String>, String);

/// Fails with a message on a field, unless its condition holds.
fn require(holds: bool, path: &[&str], message: impl Into<String>) -> Result<(), Mistake> {
    if holds {
        return Ok(());
    }
    let path = path.iter().map(ToString::to_string);
    Err((path.collect(), message.into()))
}

pub(super) fn parse(text: &str) -> Result<Profile, ProfileError> {
    let profile = toml::from_str(text).map_err(|err| parser_error(text, &err))?;
    match check(&profile) {
        Ok(()) => Ok(profile),
        Err((path, message)) => Err(ProfileError {
            line: line_of_field(text, &path),
            field: Some(path.join(".")),
            message,
        }),
    }
}

fn parser_error(text: &str, err: &toml::de::Error) -> ProfileError {
    let message = err.message().trim().replace('\n', ", ");
    let named = message.split('`').nth(1).map(str::to_owned);
    let line = line_of(text, err.span().map_or(0, |span| span.start));
    // The parser names missing and unknown fields in backquotes. The field of a bad value is found by its
    // line.
    let names_field = message.starts_with("missing field") || message.starts_with("unknown field");
    let field = if names_field {
        named
    } else {
        key_on(text, line)
    };
    ProfileError {
        line,
        field,
        message,
    }
}

/// Returns the key on a line, if any.
fn key_on(text: &str, line: usize) -> Option<String> {
    let text = text.lines().nth(line.checked_sub(1)?)?;
    let (key, _) = text.split_once('=')?;
    let key = key.trim().trim_matches('"');
    (!key.is_empty() && !key.starts_with('#')).then(|| key.to_owned())
}

/// Returns the line of the last key of a path.
fn line_of_field(text: &str, path: &[String]) -> usize {
    let parsed = DeTable::parse(text).ok();
    let mut table = parsed.as_ref().map(|root| root.get_ref());
    let mut at = 0;
    for name in path {
        let Some((key, value)) = table.and_then(|table| table.get_key_value(name.as_str())) else {
            break;
        };
        at = key.span().start;
        table = value.get_ref().as_table();
    }
    line_of(text, at)
}

fn check(profile: &Profile) -> Result<(), Mistake> {
    let page = profile.page_size;
    let is_known = PAGE_SIZES.iter().any(|(known, _)| *known == page);
    let sizes = either(PAGE_SIZES.iter().map(|(page, _)| *page));
    let message = format!("a page has {sizes}, not {}", show(page));
    require(is_known, &["page_size"], message)?;
    require(!profile.name.is_empty(), &["name"], "must not be empty")?;
    let pages = |path: &[&str], bytes, range| check_pages(path, bytes, page, range);
    pages(&["ram"], profile.ram, MIN_RAM..=MAX_RAM)?;
    // The contiguous area, the bounce pool and the areas lie below the hole.
    let room = profile.ram.min(HOLE) - RESERVED;
    pages(&["cma"], profile.cma, 0..=room)?;
    if let Some(name) = &profile.cma_heap {
        check_heap(&["cma_heap"], name)?;
        let message = "needs contiguous memory: set cma, too";
        require(profile.cma > 0, &["cma_heap"], message)?;
    }
    let (room, pool) = (room - profile.cma, profile.bounce.pool);
    if profile.bounce != BounceProfile::default() {
        pages(&["bounce", "pool"], pool, page..=room)?;
    }
    check_areas(profile, room - pool)?;
    let has_streaming = !profile.private_memory || pool > 0;
    let message = "needs a bounce pool ([bounce]): without one, devices reach no memory that they did not allocate";
    require(has_streaming, &["private_memory"], message)?;
    check_untrusted(profile)?;
    let can_have_sram = profile.iommu.is_none() || profile.sram == 0;
    let message = "needs devices that are not behind an IOMMU: remove iommu or sram";
    require(can_have_sram, &["sram"], message)?;
    pages(&["sram"], profile.sram, 0..=MAX_SRAM)?;
    let limits = [
        ("max_segment", profile.max_segment),
        ("boundary", profile.boundary.saturating_add(1)),
    ];
    for (field, bytes) in limits {
        let message = format!("{} is less than a page", show(bytes));
        require(bytes >= page, &[field], message)?;
    }
    check_bits(&["dma_mask"], profile.dma_mask_bits, 20..=64)?;
    if let Some(iommu) = &profile.iommu {
        check_iommu(&["iommu"], iommu)?;
    }
    check_iommus(&profile.iommus)?;
    let devices = profile.devices.len();
    let message = format!("{devices} devices are more than {MAX_DEVICES}, the limit");
    require(devices <= MAX_DEVICES, &["devices"], message)
}

/// Checks a size, which must be a multiple of the page size within bounds.
fn check_pages(
    path: &[&str],
    bytes: u64,
    page: u64,
    range: RangeInclusive<u64>,
) -> Result<(), Mistake> {
    let (least, most) = range.into_inner();
    let message = format!("{bytes} is no multiple of the page size {page}");
    require(bytes % page == 0, path, message)?;
    let message = format!("{} is less than {}", show(bytes), show(least));
    require(bytes >= least, path, message)?;
    let (found, room) = (show(bytes), show(most));
    let message = format!("{found} is too much: there is room for {room}");
    require(bytes <= most, path, message)
}

fn check_bits(path: &[&str], found: u32, range: RangeInclusive<u32>) -> Result<(), Mistake> {
    let (least, most) = (range.start(), range.end());
    let message = format!("{found} is not between {least} and {most} bits");
    require(range.contains(&found), path, message)
}

/// Checks areas. Each area becomes a dma-heap with the area's name, so names must be unique.
fn check_areas(profile: &Profile, room: u64) -> Result<(), Mistake> {
    let (mut left, mut left_on_chip) = (room, MAX_CHIP);
    for (index, area) in profile.areas.iter().enumerate() {
        let AreaProfile { name, bytes, .. } = area;
        let path = ["areas", name.as_str()];
        let message = format!("there are more than {MAX_AREAS} areas");
        require(index < MAX_AREAS, &path, message)?;
        check_heap(&path, name)?;
        let is_cma = profile.cma_heap.as_ref() == Some(name);
        require(!is_cma, &path, "cma_heap has the same name; choose another")?;
        let left = match area.pages {
            true => &mut left,
            false => &mut left_on_chip,
        };
        let page = profile.page_size;
        check_pages(&path, *bytes, page, page..=*left)?;
        *left -= bytes;
    }
    Ok(())
}

/// Checks the name of a dma-heap, which is a file's name.
fn check_heap(path: &[&str], name: &str) -> Result<(), Mistake> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_@.,".contains(c);
    let is_file = (1..=MAX_AREA_NAME).contains(&name.len())
        && name.chars().all(is_plain)
        && !name.starts_with('.');
    let is_taken = matches!(name, "system" | "default_cma_region")
        || name.ends_with("-sram") && name.starts_with("video");
    let message = format!("{name} is the name of a heap that vb3 makes by itself; choose another");
    require(!is_taken, path, message)?;
    let message =
        format!("\"{name}\" is no name of up to {MAX_AREA_NAME} letters, digits and -_@.,");
    require(is_file, path, message)
}

fn check_iommus(iommus: &[(String, IommuProfile)]) -> Result<(), Mistake> {
    for (index, (name, iommu)) in iommus.iter().enumerate() {
        let path = ["iommus", name.as_str()];
        let message = format!("there are more than {MAX_IOMMUS} IOMMUs");
        require(index < MAX_IOMMUS, &path, message)?;
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, ',' | '\\' | '"');
        let is_name = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_plain);
        let message =
            format!("a name has 1 to {MAX_NAME} letters, digits and signs, and no commas");
        require(is_name, &path, message)?;
        check_iommu(&path, iommu)?;
    }
    Ok(())
}

fn check_iommu(path: &[&str], iommu: &IommuProfile) -> Result<(), Mistake> {
    let path_of = |field| [path, &[field]].concat();
    let format = iommu.format;
    let bits = 20..=format.max_input_bits();
    check_bits(&path_of("aperture"), iommu.aperture_bits, bits)?;
    let lowest = |sizes: u64| sizes & sizes.wrapping_neg();
    let smallest = lowest(iommu.page_sizes);
    let granule = smallest.checked_ilog2().unwrap_or(0);
    // `page_sizes` returns 0 if the format lacks this granule. Each granule of a format fits in the aperture.
    let offered = format.page_sizes(granule) & mask_of(iommu.aperture_bits);
    let all = [12, 14, 16].into_iter();
    let granules = all.filter(|&bits| format.page_sizes(bits) != 0);
    let granules = either(granules.map(|bits| 1 << bits));
    let message = format!("the smallest must be {granules}, not {}", show(smallest));
    require(offered != 0, &path_of("page_sizes"), message)?;
    let extra = lowest(iommu.page_sizes & !offered);
    let all = (0..64).map(|bit| 1u64 << bit);
    let sizes = either(all.filter(|size| size & offered != 0));
    let (first, smallest) = (show(extra), show(smallest));
    let message = format!("{first} is no page size beside {smallest}: {sizes} is possible");
    require(extra == 0, &path_of("page_sizes"), message)?;
    check_reserved(&path_of("reserved"), &iommu.reserved)
}

fn check_reserved(path: &[&str], reserved: &[(u64, u64)]) -> Result<(), Mistake> {
    let most = RangeAllocator::MAX_RESERVED;
    require(
        reserved.len() <= most,
        path,
        format!("there are more than {most} ranges"),
    )?;
    reserved.iter().try_for_each(|(first, last)| {
        let message = format!("a range begins at {first:#x}, after its end {last:#x}");
        require(first <= last, path, message)
    })
}

/// Checks that untrusted devices have the properties that they require.
fn check_untrusted(profile: &Profile) -> Result<(), Mistake> {
    if !profile.untrusted {
        return Ok(());
    }
    let iommu = profile.iommu.as_ref();
    let message = "needs an IOMMU: without one, a device reaches all memory";
    require(iommu.is_some(), &["untrusted"], message)?;
    let message = "needs a bounce pool, through which buffers that do not fill their pages are \
         copied";
    require(profile.bounce.pool > 0, &["untrusted"], message)?;
    let message = "\"lazy\" is not possible with untrusted devices, which are always flushed at \
         once";
    let is_strict = |iommu: &IommuProfile| iommu.flush != FlushPolicy::Lazy;
    require(iommu.is_none_or(is_strict), &["iommu", "flush"], message)?;
    profile.iommus.iter().try_for_each(|(name, iommu)| {
        require(is_strict(iommu), &["iommus", name, "flush"], message)
    })
}

/// Formats sizes as alternatives for people.
fn either(sizes: impl Iterator<Item = u64>) -> String {
    sizes.map(show).collect::<Vec<_>>().join(" or ")
}
