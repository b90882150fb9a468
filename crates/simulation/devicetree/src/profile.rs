//! Makes a machine profile from a board, and SPECs (arguments of `vb3 run --device`) of its devices.

use crate::areas::LOW_RAM;
use crate::{Allocator, Board, Device, Iommu, Range, ReservedKind, Sensor, Window, areas, iommu};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Number of bytes that a kernel sets aside for CMA if the tree names no size.
///
/// Source: Debian's arm64 and armhf kernels, `CONFIG_CMA_SIZE_MBYTES`.
const DEFAULT_CMA: u64 = 64 << 20;
/// Bytes of RAM if neither the tree nor the caller gives a size.
const DEFAULT_RAM: u64 = 1 << 30;
/// Limits of a machine's RAM, in bytes.
const MAX_RAM: u64 = 256 << 30;
const MIN_RAM: u64 = 16 << 20;
/// The lowest address limit that a SPEC accepts as `mask=`.
const MIN_MASK: u64 = 0xf_ffff;
/// Longest name of an IOMMU.
const MAX_NAME: usize = 200;
/// Maximum number of devices in a profile.
const MAX_DEVICES: usize = 64;
const PAGE: u64 = 4096;
const LARGEST_PAGE: u64 = 64 << 10;

impl Board {
    /// Returns a short name: the first and most specific `compatible`.
    #[must_use]
    pub fn name(&self) -> String {
        let first = self.compatible.first().map_or("", String::as_str);
        let name: String = first
            .chars()
            .map(|c| match c {
                c if c.is_ascii_alphanumeric() => c.to_ascii_lowercase(),
                _ => '-',
            })
            .take(32)
            .collect();
        if name.is_empty() {
            "board".to_owned()
        } else {
            name
        }
    }

    /// Returns the size of the tree's memory in bytes; `None` if the tree names less than 16 MiB.
    /// The size is rounded down to pages of 64 KiB, the largest of any kernel.
    #[must_use]
    pub fn ram(&self) -> Option<u64> {
        let sum = self
            .memory
            .iter()
            .fold(0_u64, |sum, range| sum.saturating_add(range.bytes));
        (sum >= MIN_RAM).then_some(sum.min(MAX_RAM) / LARGEST_PAGE * LARGEST_PAGE)
    }

    /// Returns the board's first RAM address.
    /// If the tree gives none, returns the lowest memory address that a bus translates for its devices.
    ///
    /// The simulated machine's RAM begins at 0.
    #[must_use]
    pub fn ram_start(&self) -> u64 {
        let named = self.memory.iter().map(|range| range.start).min();
        let windows = self.devices.iter().flat_map(|device| &device.windows);
        let elsewhere = windows.filter(|window| window.bus != window.memory.start);
        let shown = elsewhere.map(|window| window.memory.start).min();
        named.or(shown).unwrap_or(0)
    }

    /// Returns the size of the shared contiguous memory (CMA), its name, and the source of the size.
    fn cma(&self) -> (u64, &str, String) {
        let found = self
            .reserved
            .iter()
            .find(|reserved| reserved.kind == ReservedKind::Cma { is_default: true });
        match found {
            Some(reserved) => {
                let mut from = reserved.path.clone();
                if let Some(place) = reserved.place {
                    let _ = write!(from, ", at {:#x} to {:#x}", place.start, place.last());
                }
                let name = reserved.path.rsplit('/').next().unwrap_or_default();
                (reserved.bytes / LARGEST_PAGE * LARGEST_PAGE, name, from)
            }
            None => (
                DEFAULT_CMA,
                "reserved",
                "not in the tree: CONFIG_CMA_SIZE_MBYTES of Debian's kernels".to_owned(),
            ),
        }
    }

    /// Returns the profile of a machine, as TOML. `ram` (bytes) overrides the tree's size of memory.
    #[must_use]
    pub fn profile(&self, ram: Option<u64>) -> String {
        self.profile_as(&self.name(), ram, None)
    }

    /// Returns [`profile`](Self::profile) under another name (letters, digits and `-`).
    ///
    /// `pages` is the page size in bytes (4, 16 or 64 KiB) and the source of this value, since a tree does
    /// not name a page size.
    #[must_use]
    pub fn profile_as(&self, name: &str, ram: Option<u64>, pages: Option<(u64, &str)>) -> String {
        let (ram, ram_from) = match (ram, self.ram()) {
            (Some(ram), _) => (ram, "the size that was given"),
            (None, Some(ram)) => (ram, "/memory: reg"),
            (None, None) => (
                DEFAULT_RAM,
                "not in the tree, since the boot loader fills it in: assumed",
            ),
        };
        let (cma, cma_heap, cma_from) = self.cma();
        let cma = cma.min(ram / 2).min(LOW_RAM) / LARGEST_PAGE * LARGEST_PAGE;
        let coherent = !self.devices.is_empty() && self.devices.iter().all(|d| d.coherent);
        let (iommus, ram_start) = (self.iommus(), self.ram_start());
        let mut out = String::new();
        let mut line = |text: std::fmt::Arguments<'_>| {
            let _ = writeln!(out, "{text}");
        };
        line(format_args!(
            "# {}, from its device tree.",
            plain(&self.model)
        ));
        for sentence in &self.not_taken {
            line(format_args!("# Not taken: {}.", plain(sentence)));
        }
        for device in &self.devices {
            device.describe(ram_start, &mut line);
        }
        line(format_args!("\nname = \"{name}\""));
        line(format_args!("description = \"{}\"\n", plain(&self.model)));
        if let Some((bytes, from)) = pages {
            line(format_args!("# {}\npage_size = {bytes}", plain(from)));
        }
        line(format_args!("# {ram_from}\nram = {ram}"));
        line(format_args!("# {}\ncma = {cma}", plain(&cma_from)));
        // Source: Linux 6.12 drivers/dma-buf/heaps/cma_heap.c `__add_cma_heap`: the reserved memory's name, or that of
        // kernel/dma/contiguous.c `dma_contiguous_reserve_area`.
        if cma > 0 {
            line(format_args!("cma_heap = \"{}\"", areas::name(cma_heap)));
        }
        line(format_args!(
            "# dma-coherent of the video devices\ncoherent = {coherent}"
        ));
        line(format_args!(
            "# drivers/of/platform.c; the SPECs above have the limits that drivers set"
        ));
        line(format_args!(
            "dma_mask = 32\nmax_segment = \"none\"\nboundary = \"none\""
        ));
        line(format_args!(
            "bounce = \"none\"\nscattered = true\nallocator = \"contig\""
        ));
        // Memory that a program passes may begin within a cache line, which needs coherent devices. Its pages
        // are scattered, which needs an IOMMU. A SPEC can still enable such memory by userptr=on.
        line(format_args!("userptr = {}", coherent && !iommus.is_empty()));
        let specs = self.specs();
        if !specs.is_empty() {
            line(format_args!("devices = ["));
            for spec in specs {
                line(format_args!("    \"{spec}\","));
            }
            line(format_args!("]"));
        }
        line(format_args!(
            "{}\niommu = \"none\"",
            match iommus.as_slice() {
                [] => "# no video device has the property iommus",
                _ => "# the IOMMU of devices that name none of those below",
            }
        ));
        let page = pages.map_or(PAGE, |(bytes, _)| bytes);
        for area in self.areas(ram, cma, page) {
            line(format_args!("\n# {}", plain(&area.path)));
            line(format_args!("[areas.\"{}\"]", area.name));
            line(format_args!(
                "size = {}\npages = {}",
                area.bytes, area.pages
            ));
        }
        for iommu in iommus {
            let row = iommu::of(&iommu.compatible);
            line(format_args!(
                "\n# {} ({})",
                plain(&iommu.path),
                plain(&iommu.compatible)
            ));
            line(format_args!("[iommus.\"{}\"]", iommu.name()));
            line(format_args!("format = \"arm-lpae-s1\""));
            line(format_args!("# {}", row.source));
            line(format_args!(
                "page_sizes = {:?}\naperture = {}",
                row.page_sizes, row.aperture
            ));
        }
        out
    }

    /// Returns the devices' SPECs for `vb3 run --device`, in the order of the tree. A machine has up to 64. Display
    /// cards come last: one for each DRM driver, with the limits of its first display controller.
    #[must_use]
    pub fn specs(&self) -> Vec<String> {
        let start = self.ram_start();
        let devices = self.devices.iter();
        let specs = devices.flat_map(|device| device.specs(start));
        let mut seen = BTreeSet::new();
        let cards = self.devices.iter().filter_map(|device| {
            let driver = device.card.as_deref()?;
            seen.insert(driver).then(|| device.card_spec(driver, start))
        });
        let cards: Vec<_> = cards.collect();
        let specs = specs.take(MAX_DEVICES.saturating_sub(cards.len()));
        specs.chain(cards).collect()
    }

    /// Lists the IOMMUs in front of the devices. Each is listed once.
    fn iommus(&self) -> Vec<&Iommu> {
        let mut found: Vec<&Iommu> = Vec::new();
        for iommu in self
            .devices
            .iter()
            .filter_map(|device| device.iommu.as_ref())
        {
            if !found.iter().any(|known| known.name() == iommu.name()) {
                found.push(iommu);
            }
        }
        found
    }
}

impl Iommu {
    /// Returns the IOMMU's name in profiles and SPECs: its path, with dashes for other characters.
    fn name(&self) -> String {
        let is_plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '@' | '-' | '.' | '_');
        let plain = self.path.chars().map(|c| if is_plain(c) { c } else { '-' });
        plain.take(MAX_NAME).collect()
    }
}

impl Device {
    /// Returns the highest address that the device reaches, limited by its mask and its buses' windows.
    ///
    /// `ram_start` is the board's first RAM address. The result is for a machine whose RAM begins at 0.
    #[must_use]
    pub fn reaches(&self, ram_start: u64) -> u64 {
        // The windows of a device behind an IOMMU limit the IOMMU, not the device.
        let windows = self.windows.iter().filter(|_| self.iommu.is_none());
        windows
            .map(|window| rebase_window(*window, ram_start).memory.last())
            .max()
            .map_or(self.last_address, |last| last.min(self.last_address))
            .max(MIN_MASK)
    }

    /// Returns the window that translates the device's addresses, for `window=` of a SPEC.
    /// `None` unless the device has no IOMMU and only this window, of whole pages below its mask.
    fn window(&self, ram_start: u64) -> Option<Window> {
        let [window] = self.windows.as_slice() else {
            return None;
        };
        let window = rebase_window(*window, ram_start);
        let end = window.bus.checked_add(window.memory.bytes)?;
        let parts = [window.bus, window.memory.start, window.memory.bytes];
        let whole = parts.iter().all(|part| part.is_multiple_of(PAGE));
        let seen = self.iommu.is_none() && end.checked_sub(1)? <= self.last_address;
        (whole && seen && window.bus != window.memory.start).then_some(window)
    }

    /// Returns the option for the device's name.
    fn name_option(&self) -> String {
        match self.path.rsplit('/').next().unwrap_or_default() {
            "" => String::new(),
            name => format!(",name={}", card(name)),
        }
    }

    /// Returns the SPEC of a display card of this DRM driver, with the device's limits.
    fn card_spec(&self, driver: &str, ram_start: u64) -> String {
        let (name, memory) = (self.name_option(), self.memory_options(ram_start));
        format!("kms,driver={driver}{name}{memory}")
    }

    fn specs(&self, ram_start: u64) -> Vec<String> {
        let name = self.name_option();
        let memory = self.memory_options(ram_start);
        // A board's camera is no USB webcam, so it does not identify itself as one.
        let kind = |kind: &str| match (kind, &self.sensor) {
            ("camera", Some(sensor)) => format!("sensor={}", sensor.model),
            ("camera", None) => "camera,identity=plain".to_owned(),
            ("convert" | "capture-convert" | "display", _) => kind.to_owned(),
            _ => match &self.driver {
                Some(driver) => format!("{kind},driver={driver}"),
                None => kind.to_owned(),
            },
        };
        self.simulated()
            .map(|simulated| format!("{}{name}{memory}", kind(simulated)))
            .collect()
    }

    /// Returns options of a SPEC for the device's allocator and the addresses that it reaches.
    fn memory_options(&self, ram_start: u64) -> String {
        let mut spec = String::new();
        if self.alloc.is != Allocator::Contig {
            let _ = write!(spec, ",alloc={}", self.alloc.is.name());
        }
        if self.alloc.is == Allocator::Vmalloc {
            return spec;
        }
        let window = self.window(ram_start);
        let last = match window {
            // With a window, the mask limits bus addresses.
            Some(_) => self.last_address,
            None => self.reaches(ram_start),
        };
        match last.checked_add(1) {
            Some(0x1_0000_0000) => {}
            Some(end) if !end.is_power_of_two() => {
                let _ = write!(spec, ",mask={last:#x}");
            }
            end => {
                let _ = write!(spec, ",mask={}", end.map_or(64, u64::ilog2));
            }
        }
        if let Some(Window { bus, memory }) = window {
            let (first, last) = (memory.start, memory.last());
            let _ = write!(spec, ",window={first:#x}-{last:#x}@{bus:#x}");
        }
        if let Some(iommu) = &self.iommu {
            let _ = write!(spec, ",iommu={}", iommu.name());
        }
        spec
    }

    fn describe(&self, ram_start: u64, line: &mut impl FnMut(std::fmt::Arguments<'_>)) {
        line(format_args!(
            "#\n# {} ({})",
            plain(&self.path),
            plain(&self.compatible)
        ));
        line(format_args!(
            "#   reaches {:#x}: {}",
            self.last_address,
            plain(&self.source)
        ));
        let alloc = &self.alloc;
        let (is, file, says) = (alloc.is.name(), &alloc.file, &alloc.says);
        line(format_args!("#   {is} buffers: {file}: {says}"));
        if let Some(Sensor { path, driver, .. }) = &self.sensor {
            let (path, compatible) = (plain(path), &driver.compatible);
            let received = "behind qcom-camss instead of this receiver";
            line(format_args!(
                "#   sensor: {path} ({compatible}), {received}"
            ));
        }
        if let Some(codec) = &self.codec {
            let (is, file, says) = (codec.is.name(), &codec.file, &codec.says);
            line(format_args!("#   {is} codecs: {file}: {says}"));
        }
        for window in &self.windows {
            line(format_args!(
                "#   dma-ranges: {:#x} on its bus is memory {:#x} to {:#x}",
                window.bus,
                window.memory.start,
                window.memory.last()
            ));
        }
        if let Some(iommu) = &self.iommu {
            line(format_args!("#   iommus: {}", plain(&iommu.path)));
        }
        for region in &self.memory_regions {
            line(format_args!("#   memory-region: {}", plain(region)));
        }
        let card = self.card.as_deref();
        let card = card.map(|driver| self.card_spec(driver, ram_start));
        for spec in self.specs(ram_start).into_iter().chain(card) {
            line(format_args!("#   --device {spec}"));
        }
    }
}

/// Adapts a window to a machine whose RAM begins at 0 instead of `ram_start`.
/// Drops the part below RAM. A window that does not translate addresses stays unchanged.
fn rebase_window(window: Window, ram_start: u64) -> Window {
    let Window { bus, memory } = window;
    if bus == memory.start {
        return window;
    }
    let below = ram_start.saturating_sub(memory.start);
    let part = memory.bytes.checked_sub(below).and_then(|bytes| {
        let start = memory.start.saturating_sub(ram_start);
        Some((Range::new(start, bytes)?, bus.checked_add(below)?))
    });
    part.map_or(window, |(memory, bus)| Window { bus, memory })
}

/// Makes a tree's text safe for a comment and a TOML string.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '\\'))
        .take(200)
        .collect()
}

/// Makes a card's name from a node's name: at most 31 bytes, without commas.
fn card(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '@' | '-' | '.') {
                c
            } else {
                '-'
            }
        })
        .take(31)
        .collect()
}
