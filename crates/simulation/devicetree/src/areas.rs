//! Memory areas of a machine, which come from a board's reserved memory for devices and its on-chip memory.

use crate::{Board, Reserved, ReservedKind};

/// Maximum number of areas in a profile, of bytes in a name, and of bytes in all areas without struct pages.
const MAX_AREAS: usize = 16;
const MAX_NAME: usize = 63;
const MAX_CHIP: u64 = 512 << 20;
/// Bytes of RAM from 1 MiB to 3 GiB. A simulated machine's device addresses begin at 3 GiB.
pub(crate) const LOW_RAM: u64 = (3 << 30) - (1 << 20);

/// A memory area in a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    /// Name of the area's heap: the last part of the node's path.
    pub(crate) name: String,
    /// Path of the node that defines the area.
    pub(crate) path: String,
    /// Bytes; a multiple of the machine's page size.
    pub(crate) bytes: u64,
    /// Whether the area is RAM with struct pages.
    pub(crate) pages: bool,
}

impl Board {
    /// Selects the memory areas of the machine.
    ///
    /// They are device pools (`shared-dma-pool`), `no-map` ranges that a video device names, and on-chip
    /// memory. Other `no-map` memory belongs to firmware. All pools together take at most half of the RAM
    /// that remains without `cma`. The size of each area is a multiple of `page` bytes.
    pub(crate) fn areas(&self, ram: u64, cma: u64, page: u64) -> Vec<Area> {
        let (mut room, mut chip) = (ram.min(LOW_RAM).saturating_sub(cma) / 2, MAX_CHIP);
        let reserved = self.reserved.iter().filter_map(|reserved| {
            let pages = match reserved.kind {
                ReservedKind::Cma { is_default: false } | ReservedKind::Pool => true,
                ReservedKind::NoMap if self.is_used(reserved) => false,
                ReservedKind::Cma { .. } | ReservedKind::NoMap | ReservedKind::Other => {
                    return None;
                }
            };
            Some((&reserved.path, reserved.bytes, pages))
        });
        let srams = self.srams.iter();
        let srams = srams.map(|sram| (&sram.path, sram.bytes, false));
        let mut areas: Vec<Area> = Vec::new();
        for (path, bytes, pages) in reserved.chain(srams) {
            let bytes = bytes / page * page;
            let left = if pages { &mut room } else { &mut chip };
            let name = name(path);
            let is_known = areas.iter().any(|area| area.name == name);
            if bytes == 0 || bytes > *left || is_known || areas.len() >= MAX_AREAS {
                continue;
            }
            *left -= bytes;
            areas.push(Area {
                name,
                path: path.clone(),
                bytes,
                pages,
            });
        }
        areas
    }

    /// Returns whether a video device allocates from this reserved memory.
    fn is_used(&self, reserved: &Reserved) -> bool {
        let mut devices = self.devices.iter();
        devices.any(|device| device.memory_regions.contains(&reserved.path))
    }
}

/// Turns a node's name into a heap name, which differs from the names of built-in heaps and video devices.
pub(crate) fn name(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | ',') => c,
        _ => '-',
    };
    let name: String = last.chars().map(plain).take(MAX_NAME - 5).collect();
    match name.as_str() {
        "" | "system" | "default_cma_region" => format!("area-{name}"),
        text if text.starts_with("video") => format!("area-{text}"),
        _ => name,
    }
}
