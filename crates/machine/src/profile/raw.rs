//! Converts TOML to a checked profile, and keeps line numbers for errors.

use super::{
    Allocator, AreaProfile, CACHE_LINE, IommuProfile, PAGE_SIZE, PAGE_SIZES, Profile, ProfileError,
    line_of, mask_of,
};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use vb3_dma::iopt::Format;
use vb3_dma::{BounceMode, FlushPolicy, RangeAllocator, SegmentMode};

/// Maximum bytes of RAM: the map of its frames must fit in the process.
const MAX_RAM: u64 = 256 << 30;
/// Minimum bytes of RAM.
const MIN_RAM: u64 = 4 << 20;
/// Bytes at address zero that are never allocated.
const RESERVED: u64 = 1 << 20;
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
/// Start of the hole in RAM for devices' addresses. The contiguous area and the bounce pool must be below it.
const LOW_END: u64 = 3 << 30;

/// A number of bytes in a TOML file, written as a number or with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    pub(super) fn parse(text: &str) -> Option<u64> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(digits)?;
        let shift = match unit.trim_start() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(1 << shift)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, or a size like \"64MiB\" (KiB, MiB, GiB)")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Size, E> {
        u64::try_from(value)
            .map(Size)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Size, E> {
        Ok(Size(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text)
            .map(Size)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// A size, or `"none"`.
#[derive(Clone, Copy, Debug)]
struct OptionalSize(Option<u64>);

impl<'de> Deserialize<'de> for OptionalSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = OptionalSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"none\", a number of bytes, or a size like \"64KiB\"")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<OptionalSize, E> {
                SizeVisitor
                    .visit_i64(value)
                    .map(|size| OptionalSize(Some(size.0)))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<OptionalSize, E> {
                Ok(OptionalSize(Some(value)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<OptionalSize, E> {
                if text == "none" {
                    return Ok(OptionalSize(None));
                }
                Size::parse(text)
                    .map(|size| OptionalSize(Some(size)))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A table, or `"none"`.
#[derive(Clone, Debug)]
struct OptionalTable<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OptionalTable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OptionalTable<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"none\" or a table")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if text == "none" {
                    return Ok(OptionalTable(None));
                }
                Err(E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let table = T::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(OptionalTable(Some(table)))
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

/// A reserved area, written as its size, or as a table with the size and other fields.
#[derive(Clone, Debug)]
struct RawArea {
    size: Size,
    pages: bool,
    protected: bool,
}

impl<'de> Deserialize<'de> for RawArea {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            size: Size,
            #[serde(default = "yes")]
            pages: bool,
            #[serde(default)]
            protected: bool,
        }
        fn yes() -> bool {
            true
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawArea;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, a size like \"8MiB\", or a table with size")
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawArea, E> {
                SizeVisitor.visit_i64(value).map(RawArea::of_ram)
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<RawArea, E> {
                SizeVisitor.visit_u64(value).map(RawArea::of_ram)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawArea, E> {
                SizeVisitor.visit_str(text).map(RawArea::of_ram)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RawArea, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(RawArea {
                    size: table.size,
                    pages: table.pages,
                    protected: table.protected,
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl RawArea {
    const fn of_ram(size: Size) -> Self {
        Self {
            size,
            pages: true,
            protected: false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct RawFormat(Format);

impl<'de> Deserialize<'de> for RawFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let format = Format::ALL.iter().find(|format| format.name() == text);
        format.copied().map(Self).ok_or_else(|| {
            let names: Vec<_> = Format::ALL
                .iter()
                .map(|format| format!("`{}`", format.name()))
                .collect();
            let names = names.join(", ");
            de::Error::custom(format!("unknown variant `{text}`, expected one of {names}"))
        })
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIommu {
    format: Option<RawFormat>,
    page_sizes: Spanned<Vec<Size>>,
    aperture: Spanned<u32>,
    #[serde(default)]
    reserved: Vec<Spanned<(u64, u64)>>,
    flush: Option<Spanned<RawFlush>>,
    segments: Option<RawSegments>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawFlush {
    Strict,
    Lazy,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawSegments {
    Contiguous,
    Compatible,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawBounceMode {
    WhenNeeded,
    Always,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBounce {
    mode: RawBounceMode,
    pool: Spanned<Size>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    ram: Spanned<Size>,
    cma: Option<Spanned<Size>>,
    #[serde(default)]
    areas: BTreeMap<Spanned<String>, Spanned<RawArea>>,
    page_size: Option<Spanned<Size>>,
    coherent: bool,
    iommu: Option<OptionalTable<RawIommu>>,
    #[serde(default)]
    iommus: BTreeMap<Spanned<String>, RawIommu>,
    dma_mask: Spanned<u32>,
    max_segment: Option<Spanned<OptionalSize>>,
    boundary: Option<Spanned<OptionalSize>>,
    bounce: Option<OptionalTable<RawBounce>>,
    private_memory: Option<Spanned<bool>>,
    untrusted: Option<Spanned<bool>>,
    sram: Option<Spanned<Size>>,
    scattered: Option<bool>,
    userptr: Option<bool>,
    #[serde(default)]
    allocator: Allocator,
    devices: Option<Spanned<Vec<String>>>,
}

/// The text of a profile, for line numbers, and its page size, for checks of sizes.
struct Source<'a> {
    text: &'a str,
    page_size: u64,
}

impl Source<'_> {
    /// Returns the key on a line, if any.
    fn key(&self, line: usize) -> Option<String> {
        let text = self.text.lines().nth(line.checked_sub(1)?)?;
        let (key, _) = text.split_once('=')?;
        let key = key.trim().trim_matches('"');
        (!key.is_empty() && !key.starts_with('#')).then(|| key.to_owned())
    }

    fn error(&self, field: &str, span: Range<usize>, message: String) -> ProfileError {
        ProfileError {
            line: line_of(self.text, span.start),
            field: Some(field.to_owned()),
            message,
        }
    }

    fn parser_error(&self, err: &toml::de::Error) -> ProfileError {
        let message = err.message().trim().replace('\n', ", ");
        let named = message.split('`').nth(1).map(str::to_owned);
        let at = err.span().map_or(0, |span| span.start);
        let line = line_of(self.text, at);
        // The parser names missing and unknown fields in backquotes. The field of a bad value is found by its
        // line.
        let names_field =
            message.starts_with("missing field") || message.starts_with("unknown field");
        let field = if names_field { named } else { self.key(line) };
        ProfileError {
            line,
            field,
            message,
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Profile, ProfileError> {
    let mut source = Source {
        text,
        page_size: PAGE_SIZE,
    };
    let raw: Raw = toml::from_str(text).map_err(|err| source.parser_error(&err))?;
    source.page_size = check_page_size(&source, raw.page_size.as_ref())?;
    check(&source, raw)
}

fn check(source: &Source<'_>, raw: Raw) -> Result<Profile, ProfileError> {
    if raw.name.get_ref().is_empty() {
        return Err(source.error("name", raw.name.span(), "must not be empty".into()));
    }
    let ram = pages(source, "ram", &raw.ram, MIN_RAM, MAX_RAM)?;
    let room = ram.min(LOW_END) - RESERVED;
    let cma = match &raw.cma {
        Some(cma) => pages(source, "cma", cma, 0, room)?,
        None => 0,
    };
    let (bounce, bounce_pool) = check_bounce(source, raw.bounce.and_then(|b| b.0), room - cma)?;
    let areas = check_areas(source, raw.areas, room - cma - bounce_pool)?;
    let private_memory = raw.private_memory.as_ref().is_some_and(|p| *p.get_ref());
    if let Some(private) = raw
        .private_memory
        .filter(|_| private_memory && bounce_pool == 0)
    {
        let message = "needs a bounce pool, or devices reach no streaming memory".into();
        return Err(source.error("private_memory", private.span(), message));
    }
    let iommu = raw.iommu.and_then(|iommu| iommu.0);
    let untrusted = check_untrusted(source, raw.untrusted, iommu.as_ref(), bounce_pool)?;
    let sram = check_sram(source, raw.sram, iommu.is_some())?;
    let iommu = iommu.map(|iommu| check_iommu(source, &iommu)).transpose()?;
    let iommus = check_iommus(source, raw.iommus)?;
    let mask_bits = bits(source, "dma_mask", &raw.dma_mask, 20, 64)?;
    Ok(Profile {
        name: raw.name.into_inner(),
        description: raw.description,
        page_size: source.page_size,
        ram,
        cma,
        areas,
        coherent: raw.coherent,
        cache_line: CACHE_LINE,
        iommu,
        iommus,
        dma_mask_bits: mask_bits,
        max_segment: check_max_segment(source, raw.max_segment)?,
        boundary: check_boundary(source, raw.boundary)?,
        bounce,
        bounce_pool,
        private_memory,
        untrusted,
        sram,
        scattered: raw.scattered.unwrap_or(true),
        userptr: raw.userptr,
        allocator: raw.allocator,
        devices: check_devices(source, raw.devices)?,
    })
}

fn check_page_size(source: &Source<'_>, raw: Option<&Spanned<Size>>) -> Result<u64, ProfileError> {
    let Some(raw) = raw else {
        return Ok(PAGE_SIZE);
    };
    let bytes = raw.get_ref().0;
    if PAGE_SIZES.iter().any(|(page, _)| *page == bytes) {
        return Ok(bytes);
    }
    let sizes = either(PAGE_SIZES.iter().map(|(page, _)| *page));
    let message = format!("a page has {sizes}, not {}", show(bytes));
    Err(source.error("page_size", raw.span(), message))
}

/// Checks number and form of the devices. Their options are not checked by this crate.
fn check_devices(
    source: &Source<'_>,
    devices: Option<Spanned<Vec<String>>>,
) -> Result<Vec<String>, ProfileError> {
    let Some(devices) = devices else {
        return Ok(Vec::new());
    };
    let count = devices.get_ref().len();
    if count > MAX_DEVICES {
        let message = format!("{count} are more than {MAX_DEVICES}");
        return Err(source.error("devices", devices.span(), message));
    }
    Ok(devices.into_inner())
}

/// Checks a size, which must be a multiple of the page size within bounds.
fn pages(
    source: &Source<'_>,
    field: &str,
    size: &Spanned<Size>,
    least: u64,
    most: u64,
) -> Result<u64, ProfileError> {
    let bytes = size.get_ref().0;
    let page = source.page_size;
    let message = if bytes % page != 0 {
        format!("{bytes} is no multiple of the page size {page}")
    } else if bytes < least {
        format!("{} is less than {}", show(bytes), show(least))
    } else if bytes > most {
        format!(
            "{} is more than the {} there is room for",
            show(bytes),
            show(most)
        )
    } else {
        return Ok(bytes);
    };
    Err(source.error(field, size.span(), message))
}

fn bits(
    source: &Source<'_>,
    field: &str,
    value: &Spanned<u32>,
    least: u32,
    most: u32,
) -> Result<u32, ProfileError> {
    let found = *value.get_ref();
    if (least..=most).contains(&found) {
        return Ok(found);
    }
    let message = format!("{found} is not between {least} and {most} bits");
    Err(source.error(field, value.span(), message))
}

fn check_bounce(
    source: &Source<'_>,
    raw: Option<RawBounce>,
    room: u64,
) -> Result<(BounceMode, u64), ProfileError> {
    let Some(raw) = raw else {
        return Ok((BounceMode::Never, 0));
    };
    let pool = pages(source, "bounce.pool", &raw.pool, source.page_size, room)?;
    let mode = match raw.mode {
        RawBounceMode::WhenNeeded => BounceMode::WhenNeeded,
        RawBounceMode::Always => BounceMode::Always,
    };
    Ok((mode, pool))
}

/// Checks areas. Each area becomes a dma-heap with the area's name, so names must be unique.
fn check_areas(
    source: &Source<'_>,
    raw: BTreeMap<Spanned<String>, Spanned<RawArea>>,
    room: u64,
) -> Result<Vec<AreaProfile>, ProfileError> {
    let (mut areas, mut left, mut left_on_chip) = (Vec::new(), room, MAX_CHIP);
    for (name, area) in raw {
        let text = name.get_ref();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | '.');
        let is_file = (1..=MAX_AREA_NAME).contains(&text.len())
            && text.chars().all(is_plain)
            && !text.starts_with('.');
        let is_taken = matches!(text.as_str(), "system" | "default_cma_region")
            || text.ends_with("-sram") && text.starts_with("video");
        let message = if areas.len() >= MAX_AREAS {
            format!("there are more than {MAX_AREAS}")
        } else if is_taken {
            format!("{text} is a heap of every machine that has such memory")
        } else if !is_file {
            format!("\"{text}\" is no name of up to {MAX_AREA_NAME} letters, digits and -_@.")
        } else {
            let has_pages = area.get_ref().pages;
            let left = match has_pages {
                true => &mut left,
                false => &mut left_on_chip,
            };
            let size = Spanned::new(area.span(), area.get_ref().size);
            let bytes = pages(source, "areas", &size, source.page_size, *left)?;
            *left -= bytes;
            areas.push(AreaProfile {
                name: name.into_inner(),
                bytes,
                pages: has_pages,
                protected: area.get_ref().protected,
            });
            continue;
        };
        return Err(source.error("areas", name.span(), message));
    }
    Ok(areas)
}

fn check_iommus(
    source: &Source<'_>,
    raw: BTreeMap<Spanned<String>, RawIommu>,
) -> Result<Vec<(String, IommuProfile)>, ProfileError> {
    let mut iommus = Vec::new();
    for (name, raw) in raw {
        let wrong = |message: String| Err(source.error("iommus", name.span(), message));
        if iommus.len() >= MAX_IOMMUS {
            return wrong(format!("there are more than {MAX_IOMMUS}"));
        }
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, ',' | '\\' | '"');
        let text = name.get_ref();
        if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(is_plain) {
            return wrong(format!(
                "a name has 1 to {MAX_NAME} letters, digits and signs, and no commas"
            ));
        }
        iommus.push((text.clone(), check_iommu(source, &raw)?));
    }
    Ok(iommus)
}

fn check_iommu(source: &Source<'_>, raw: &RawIommu) -> Result<IommuProfile, ProfileError> {
    let format = raw.format.map_or(Format::VtdSecondStage, |raw| raw.0);
    let most = format.max_input_bits();
    let aperture_bits = bits(source, "iommu.aperture", &raw.aperture, 20, most)?;
    let sizes = raw.page_sizes.get_ref().iter().map(|size| size.0);
    let wrong = |message| source.error("iommu.page_sizes", raw.page_sizes.span(), message);
    let smallest = sizes.clone().min().unwrap_or(0);
    let granule = smallest.checked_ilog2().unwrap_or(0);
    // `page_sizes` returns 0 if the format lacks this granule. Each granule of a format fits in the aperture.
    let offered = match format.page_sizes(granule) & mask_of(aperture_bits) {
        0 => {
            let all = [12, 14, 16].into_iter();
            let granules = all.filter(|&bits| format.page_sizes(bits) != 0);
            let message = format!(
                "the smallest must be {}, not {}",
                either(granules.map(|bits| 1 << bits)),
                show(smallest)
            );
            return Err(wrong(message));
        }
        offered => offered,
    };
    let mut page_sizes = 0u64;
    for size in sizes {
        if !size.is_power_of_two() || size & offered == 0 {
            let all = (0..64).map(|bit| 1u64 << bit);
            let sizes = either(all.filter(|size| size & offered != 0));
            let message = format!(
                "{} is no page size beside {}: {sizes}",
                show(size),
                show(smallest)
            );
            return Err(wrong(message));
        }
        page_sizes |= size;
    }
    Ok(IommuProfile {
        format,
        page_sizes,
        aperture_bits,
        reserved: check_reserved(source, &raw.reserved)?,
        flush: match raw.flush.as_ref().map(|flush| *flush.get_ref()) {
            None | Some(RawFlush::Strict) => FlushPolicy::Strict,
            Some(RawFlush::Lazy) => FlushPolicy::Lazy,
        },
        segments: match raw.segments {
            None | Some(RawSegments::Contiguous) => SegmentMode::Contiguous,
            Some(RawSegments::Compatible) => SegmentMode::Compatible,
        },
    })
}

fn check_reserved(
    source: &Source<'_>,
    raw: &[Spanned<(u64, u64)>],
) -> Result<Vec<(u64, u64)>, ProfileError> {
    let wrong = |at: &Spanned<_>, message| source.error("iommu.reserved", at.span(), message);
    if let Some(over) = raw.get(RangeAllocator::MAX_RESERVED) {
        let message = format!("more than {} ranges", RangeAllocator::MAX_RESERVED);
        return Err(wrong(over, message));
    }
    if let Some(turned) = raw
        .iter()
        .find(|range| range.get_ref().0 > range.get_ref().1)
    {
        let (first, last) = turned.get_ref();
        let message = format!("begins at {first:#x}, behind its end {last:#x}");
        return Err(wrong(turned, message));
    }
    Ok(raw.iter().map(|range| *range.get_ref()).collect())
}

/// Checks that untrusted devices have the properties that they require.
fn check_untrusted(
    source: &Source<'_>,
    raw: Option<Spanned<bool>>,
    iommu: Option<&RawIommu>,
    bounce_pool: u64,
) -> Result<bool, ProfileError> {
    let Some(raw) = raw.filter(|raw| *raw.get_ref()) else {
        return Ok(false);
    };
    let wrong = |message: &str| Err(source.error("untrusted", raw.span(), message.into()));
    let Some(iommu) = iommu else {
        return wrong("needs an IOMMU: without one, a device reaches everything");
    };
    if bounce_pool == 0 {
        return wrong("needs a bounce pool for what does not fill pages");
    }
    let flush = iommu.flush.as_ref();
    if let Some(lazy) = flush.filter(|flush| *flush.get_ref() == RawFlush::Lazy) {
        let message = "\"lazy\" is not for untrusted devices, which are always flushed at once";
        return Err(source.error("iommu.flush", lazy.span(), message.into()));
    }
    Ok(true)
}

fn check_sram(
    source: &Source<'_>,
    raw: Option<Spanned<Size>>,
    iommu: bool,
) -> Result<u64, ProfileError> {
    let Some(raw) = raw.filter(|raw| raw.get_ref().0 > 0) else {
        return Ok(0);
    };
    if iommu {
        let message = "is for devices that are not behind an IOMMU";
        return Err(source.error("sram", raw.span(), message.into()));
    }
    pages(source, "sram", &raw, source.page_size, MAX_SRAM)
}

fn check_max_segment(
    source: &Source<'_>,
    raw: Option<Spanned<OptionalSize>>,
) -> Result<u64, ProfileError> {
    let Some(raw) = raw else { return Ok(u64::MAX) };
    match raw.get_ref().0 {
        None => Ok(u64::MAX),
        Some(bytes) if bytes >= source.page_size => Ok(bytes),
        Some(bytes) => {
            let message = format!("{} is less than a page", show(bytes));
            Err(source.error("max_segment", raw.span(), message))
        }
    }
}

fn check_boundary(
    source: &Source<'_>,
    raw: Option<Spanned<OptionalSize>>,
) -> Result<u64, ProfileError> {
    let Some(raw) = raw else { return Ok(u64::MAX) };
    match raw.get_ref().0 {
        None => Ok(u64::MAX),
        Some(bytes) if bytes.is_power_of_two() && bytes >= source.page_size => Ok(bytes - 1),
        Some(bytes) => {
            let message = format!("{} is no power of two of at least a page", show(bytes));
            Err(source.error("boundary", raw.span(), message))
        }
    }
}

/// Formats sizes as alternatives for people.
fn either(sizes: impl Iterator<Item = u64>) -> String {
    sizes.map(show).collect::<Vec<_>>().join(" or ")
}

/// Formats a size for people.
fn show(bytes: u64) -> String {
    for (shift, unit) in [(30u32, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes % (1 << shift) == 0 {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}
