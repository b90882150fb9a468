//! Converts TOML to a checked profile, and keeps line numbers for errors.

use super::{
    Allocator, AreaProfile, CACHE_LINE, HOLE, IommuProfile, PAGE_SIZE, PAGE_SIZES, Profile,
    ProfileError, RESERVED, line_of, mask_of,
};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Unexpected, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use toml::Spanned;
use vb3_dma::iopt::Format;
use vb3_dma::{BounceMode, FlushPolicy, RangeAllocator, SegmentMode};

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

/// A number of bytes in a TOML file, written as a number or with a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    fn of<T>(value: Notation<'_, T>) -> Option<Self> {
        match value {
            Notation::Size(bytes) => Some(Self(bytes)),
            Notation::Text(text) => Self::parse(text).map(Self),
            Notation::Table(_) => None,
        }
    }
}

/// What TOML may have for a field that can be written in several ways.
enum Notation<'a, T> {
    Size(u64),
    Text(&'a str),
    Table(T),
}

/// Converts a [`Notation`] by a function, which returns `None` for what is not allowed.
struct Notations<T, F> {
    /// What is allowed, for error messages.
    expected: &'static str,
    convert: F,
    table: PhantomData<T>,
}

impl<'de, T, V, F> Visitor<'de> for Notations<T, F>
where
    T: Deserialize<'de>,
    F: Fn(Notation<'_, T>) -> Option<V>,
{
    type Value = V;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<V, E> {
        let size = u64::try_from(value).ok().map(Notation::Size);
        let value = size.and_then(&self.convert).ok_or(value);
        value.map_err(|value| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<V, E> {
        let size = (self.convert)(Notation::Size(value));
        size.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<V, E> {
        let value = (self.convert)(Notation::Text(text));
        value.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V, A::Error> {
        let table = T::deserialize(MapAccessDeserializer::new(map))?;
        let value = (self.convert)(Notation::Table(table));
        value.ok_or_else(|| de::Error::invalid_type(Unexpected::Map, &self))
    }
}

fn read<'de, D: Deserializer<'de>, T: Deserialize<'de>, V>(
    deserializer: D,
    expected: &'static str,
    convert: impl Fn(Notation<'_, T>) -> Option<V>,
) -> Result<V, D::Error> {
    deserializer.deserialize_any(Notations {
        expected,
        convert,
        table: PhantomData,
    })
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number of bytes, or a size like \"64MiB\" (KiB, MiB, GiB)";
        read(deserializer, expected, Self::of::<IgnoredAny>)
    }
}

/// A size, or `"none"`.
#[derive(Default)]
struct OptionalSize(Option<u64>);

impl<'de> Deserialize<'de> for OptionalSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "\"none\", a number of bytes, or a size like \"64KiB\"";
        read(
            deserializer,
            expected,
            |value: Notation<'_, IgnoredAny>| match value {
                Notation::Text("none") => Some(Self(None)),
                size => Size::of(size).map(|size| Self(Some(size.0))),
            },
        )
    }
}

/// Reads a table, or `"none"`.
fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    read(deserializer, "\"none\" or a table", |value| match value {
        Notation::Text("none") => Some(None),
        Notation::Table(table) => Some(Some(table)),
        _ => None,
    })
}

/// A reserved area, written as a table or as its size.
struct RawArea(AreaTable);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AreaTable {
    size: Size,
    #[serde(default = "yes")]
    pages: bool,
    #[serde(default)]
    protected: bool,
}

const fn yes() -> bool {
    true
}

impl<'de> Deserialize<'de> for RawArea {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number of bytes, a size like \"8MiB\", or a table with size";
        read(deserializer, expected, |value| match value {
            Notation::Table(table) => Some(Self(table)),
            size => Size::of(size).map(|size| {
                Self(AreaTable {
                    size,
                    pages: true,
                    protected: false,
                })
            }),
        })
    }
}

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
    let text = String::deserialize(deserializer)?;
    let format = Format::ALL.iter().find(|format| format.name() == text);
    format.copied().ok_or_else(|| {
        let names: Vec<_> = Format::ALL
            .iter()
            .map(|format| format!("`{}`", format.name()))
            .collect();
        let names = names.join(", ");
        de::Error::custom(format!("unknown variant `{text}`, expected one of {names}"))
    })
}

const fn usual_format() -> Format {
    Format::VtdSecondStage
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIommu {
    #[serde(default = "usual_format", deserialize_with = "format")]
    format: Format,
    page_sizes: Spanned<Vec<Size>>,
    aperture: Spanned<u32>,
    #[serde(default)]
    reserved: Vec<Spanned<(u64, u64)>>,
    #[serde(default = "omitted")]
    flush: Spanned<RawFlush>,
    #[serde(default, with = "RawSegments")]
    segments: SegmentMode,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawFlush {
    #[default]
    Strict,
    Lazy,
}

#[derive(Deserialize)]
#[serde(remote = "SegmentMode", rename_all = "kebab-case")]
enum RawSegments {
    Contiguous,
    Compatible,
}

#[derive(Deserialize)]
#[serde(remote = "BounceMode", rename_all = "kebab-case")]
enum RawBounceMode {
    WhenNeeded,
    Always,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBounce {
    #[serde(with = "RawBounceMode")]
    mode: BounceMode,
    pool: Spanned<Size>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    ram: Spanned<Size>,
    #[serde(default = "omitted")]
    cma: Spanned<Size>,
    #[serde(default)]
    areas: BTreeMap<Spanned<String>, Spanned<RawArea>>,
    page_size: Option<Spanned<Size>>,
    coherent: bool,
    #[serde(default, deserialize_with = "optional")]
    iommu: Option<RawIommu>,
    #[serde(default)]
    iommus: BTreeMap<Spanned<String>, RawIommu>,
    dma_mask: Spanned<u32>,
    #[serde(default = "omitted")]
    max_segment: Spanned<OptionalSize>,
    #[serde(default = "omitted")]
    boundary: Spanned<OptionalSize>,
    #[serde(default, deserialize_with = "optional")]
    bounce: Option<RawBounce>,
    #[serde(default = "omitted")]
    private_memory: Spanned<bool>,
    #[serde(default = "omitted")]
    untrusted: Spanned<bool>,
    #[serde(default = "omitted")]
    sram: Spanned<Size>,
    #[serde(default = "yes")]
    scattered: bool,
    userptr: Option<bool>,
    #[serde(default)]
    allocator: Allocator,
    #[serde(default = "omitted")]
    devices: Spanned<Vec<String>>,
}

/// Returns the value of an omitted field.
fn omitted<T: Default>() -> Spanned<T> {
    Spanned::new(0..0, T::default())
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
    // The contiguous area, the bounce pool and the areas lie below the hole.
    let room = ram.min(HOLE) - RESERVED;
    let cma = pages(source, "cma", &raw.cma, 0, room)?;
    let (bounce, bounce_pool) = check_bounce(source, raw.bounce, room - cma)?;
    let areas = check_areas(source, raw.areas, room - cma - bounce_pool)?;
    let private = &raw.private_memory;
    if *private.get_ref() && bounce_pool == 0 {
        let message = "needs a bounce pool, or devices reach no streaming memory".into();
        return Err(source.error("private_memory", private.span(), message));
    }
    check_untrusted(source, &raw.untrusted, raw.iommu.as_ref(), bounce_pool)?;
    let sram = check_sram(source, &raw.sram, raw.iommu.is_some())?;
    let iommu = raw.iommu.map(|iommu| check_iommu(source, &iommu));
    let page = source.page_size;
    let fits = |bytes| (bytes >= page).then_some(bytes);
    let size = &raw.max_segment;
    let max_segment = limit(source, "max_segment", size, fits, "less than a page")?;
    let fits = |bytes: u64| (bytes.is_power_of_two() && bytes >= page).then(|| bytes - 1);
    let fault = "no power of two of at least a page";
    let boundary = limit(source, "boundary", &raw.boundary, fits, fault)?;
    Ok(Profile {
        name: raw.name.into_inner(),
        description: raw.description,
        page_size: source.page_size,
        ram,
        cma,
        areas,
        coherent: raw.coherent,
        cache_line: CACHE_LINE,
        iommu: iommu.transpose()?,
        iommus: check_iommus(source, raw.iommus)?,
        dma_mask_bits: bits(source, "dma_mask", &raw.dma_mask, 20, 64)?,
        max_segment,
        boundary,
        bounce,
        bounce_pool,
        private_memory: raw.private_memory.into_inner(),
        untrusted: raw.untrusted.into_inner(),
        sram,
        scattered: raw.scattered,
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
    devices: Spanned<Vec<String>>,
) -> Result<Vec<String>, ProfileError> {
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
    Ok((raw.mode, pool))
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
            let span = area.span();
            let RawArea(area) = area.into_inner();
            let left = match area.pages {
                true => &mut left,
                false => &mut left_on_chip,
            };
            let size = Spanned::new(span, area.size);
            let bytes = pages(source, "areas", &size, source.page_size, *left)?;
            *left -= bytes;
            areas.push(AreaProfile {
                name: name.into_inner(),
                bytes,
                pages: area.pages,
                protected: area.protected,
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
    let format = raw.format;
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
        flush: match raw.flush.get_ref() {
            RawFlush::Strict => FlushPolicy::Strict,
            RawFlush::Lazy => FlushPolicy::Lazy,
        },
        segments: raw.segments,
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
    untrusted: &Spanned<bool>,
    iommu: Option<&RawIommu>,
    bounce_pool: u64,
) -> Result<(), ProfileError> {
    if !untrusted.get_ref() {
        return Ok(());
    }
    let wrong = |message: &str| Err(source.error("untrusted", untrusted.span(), message.into()));
    let Some(iommu) = iommu else {
        return wrong("needs an IOMMU: without one, a device reaches everything");
    };
    if bounce_pool == 0 {
        return wrong("needs a bounce pool for what does not fill pages");
    }
    if *iommu.flush.get_ref() == RawFlush::Lazy {
        let message = "\"lazy\" is not for untrusted devices, which are always flushed at once";
        return Err(source.error("iommu.flush", iommu.flush.span(), message.into()));
    }
    Ok(())
}

fn check_sram(source: &Source<'_>, sram: &Spanned<Size>, iommu: bool) -> Result<u64, ProfileError> {
    if iommu && sram.get_ref().0 > 0 {
        let message = "is for devices that are not behind an IOMMU";
        return Err(source.error("sram", sram.span(), message.into()));
    }
    pages(source, "sram", sram, 0, MAX_SRAM)
}

/// Checks a limit of segments with `fits`, which converts it. Returns `u64::MAX` if there is no limit.
fn limit(
    source: &Source<'_>,
    field: &str,
    size: &Spanned<OptionalSize>,
    fits: impl FnOnce(u64) -> Option<u64>,
    fault: &str,
) -> Result<u64, ProfileError> {
    let Some(bytes) = size.get_ref().0 else {
        return Ok(u64::MAX);
    };
    fits(bytes).ok_or_else(|| {
        let message = format!("{} is {fault}", show(bytes));
        source.error(field, size.span(), message)
    })
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
