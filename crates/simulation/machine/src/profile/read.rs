//! Reads a profile's fields from TOML.

use super::{AreaProfile, BounceProfile, IommuProfile, show};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Unexpected, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use vb3_dma::iopt::Format;
use vb3_dma::{BounceMode, FlushPolicy, SegmentMode};

/// Parses a number of bytes: a plain number, or a number with `KiB`, `MiB` or `GiB`.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
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

/// The forms in which TOML may have a field that can be written in several ways.
enum Notation<'a, T> {
    Size(u64),
    Text(&'a str),
    Table(T),
}

impl<T> Notation<'_, T> {
    fn bytes(self) -> Option<u64> {
        match self {
            Self::Size(bytes) => Some(bytes),
            Self::Text(text) => parse_size(text),
            Self::Table(_) => None,
        }
    }
}

/// Converts a [`Notation`] by a function, which returns `None` for a form or value that is not allowed.
struct Notations<T, F> {
    /// The allowed forms, for error messages.
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

/// A number of bytes in a TOML file, written as a number or with a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        size(deserializer).map(Self)
    }
}

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let expected = "a number of bytes, or a size like \"64MiB\" (KiB, MiB, GiB)";
    let bytes = |value: Notation<'_, IgnoredAny>| value.bytes();
    read(deserializer, expected, bytes)
}

/// Reads a size, or `"none"` as the largest number.
pub(super) fn size_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let expected = "\"none\", a number of bytes, or a size like \"64KiB\"";
    let bytes = |value: Notation<'_, IgnoredAny>| match value {
        Notation::Text("none") => Some(u64::MAX),
        value => value.bytes(),
    };
    read(deserializer, expected, bytes)
}

/// Reads a boundary as a mask.
pub(super) fn boundary<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match size_or_none(deserializer)? {
        u64::MAX => Ok(u64::MAX),
        bytes if bytes.is_power_of_two() => Ok(bytes - 1),
        bytes => Err(de::Error::custom(format!(
            "{} is no power of two",
            show(bytes)
        ))),
    }
}

/// Reads page sizes as a number with one bit for each.
pub(super) fn page_sizes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let sizes = Vec::<Size>::deserialize(deserializer)?;
    let odd = sizes.iter().find(|size| !size.0.is_power_of_two());
    match odd {
        None => Ok(sizes.iter().fold(0, |bits, size| bits | size.0)),
        Some(odd) => Err(de::Error::custom(format!(
            "{} is no page size, which is a power of two",
            show(odd.0)
        ))),
    }
}

/// Reads a table, or `"none"`.
pub(super) fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    read(deserializer, "\"none\" or a table", |value| match value {
        Notation::Text("none") => Some(None),
        Notation::Table(table) => Some(Some(table)),
        _ => None,
    })
}

pub(super) fn bounce<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BounceProfile, D::Error> {
    Ok(optional(deserializer)?.unwrap_or_default())
}

/// A reserved area, written as a table or as its size.
struct Area(AreaProfile);

impl<'de> Deserialize<'de> for Area {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number of bytes, a size like \"8MiB\", or a table with size";
        read(deserializer, expected, |value| match value {
            Notation::Table(table) => Some(Self(table)),
            value => value.bytes().map(|bytes| {
                Self(AreaProfile {
                    name: String::new(),
                    bytes,
                    pages: true,
                    protected: false,
                })
            }),
        })
    }
}

pub(super) fn areas<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<AreaProfile>, D::Error> {
    let areas = BTreeMap::deserialize(deserializer)?.into_iter();
    let areas = areas.map(|(name, Area(area))| AreaProfile { name, ..area });
    Ok(areas.collect())
}

pub(super) fn iommus<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, IommuProfile)>, D::Error> {
    let iommus = BTreeMap::deserialize(deserializer)?;
    Ok(iommus.into_iter().collect())
}

pub(super) fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
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

pub(super) const fn usual_format() -> Format {
    Format::VtdSecondStage
}

#[derive(Deserialize)]
#[serde(remote = "FlushPolicy", rename_all = "kebab-case")]
pub(super) enum Flush {
    Strict,
    Lazy,
}

#[derive(Deserialize)]
#[serde(remote = "SegmentMode", rename_all = "kebab-case")]
pub(super) enum Segments {
    Contiguous,
    Compatible,
}

#[derive(Deserialize)]
#[serde(remote = "BounceMode", rename_all = "kebab-case")]
pub(super) enum Bounce {
    WhenNeeded,
    Always,
}

pub(super) const fn yes() -> bool {
    true
}

pub(super) const fn unlimited() -> u64 {
    u64::MAX
}

pub(super) const fn usual_page() -> u64 {
    super::PAGE_SIZE
}
