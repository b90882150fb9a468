//! The memory that a device reaches over its buses.

use crate::memory::Range;
use crate::tree::{Id, Tree, take};

/// Largest number of windows that are read from one bus.
const MAX_WINDOWS: usize = 64;

/// A part of memory as a device's bus sees it: `dma-ranges`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First address that the device puts on its bus.
    pub bus: u64,
    /// The memory that the device reaches through the window.
    pub memory: Range,
}

/// Returns the bus that a device uses for memory: its `dma-mem` interconnect, or else its parent node.
///
/// Source: Linux 6.12 `drivers/of/address.c` `__of_get_dma_parent`.
fn parent(tree: &Tree, id: Id) -> Option<Id> {
    let position = tree
        .texts(id, "interconnect-names")
        .position(|name| name == "dma-mem");
    let named = position.and_then(|position| {
        let mut cells = tree.cells(id, "interconnects");
        let mut provider = tree.by_phandle(cells.next()?)?;
        for _ in 0..position {
            let width = tree.number(provider, "#interconnect-cells")?;
            for _ in 0..width.min(16) {
                cells.next()?;
            }
            provider = tree.by_phandle(cells.next()?)?;
        }
        Some(provider)
    });
    named.or_else(|| tree.parent(id))
}

/// Returns the windows of a bus; `None` if it has no property `dma-ranges`.
/// The list is empty if `dma-ranges` is empty: the bus passes addresses on unchanged.
fn ranges(tree: &Tree, bus: Id) -> Option<Vec<Window>> {
    tree.property(bus, "dma-ranges")?;
    let (child, size) = tree.widths(bus);
    let above = tree.parent(bus).map_or((2, 1), |id| tree.widths(id)).0;
    let mut cells = tree.cells(bus, "dma-ranges");
    let mut out = Vec::new();
    while out.len() < MAX_WINDOWS
        && child + above + size > 0
        && let (Some(at), Some(start), Some(bytes)) = (
            take(&mut cells, child),
            take(&mut cells, above),
            take(&mut cells, size),
        )
    {
        out.extend(Range::new(start, bytes).map(|memory| Window { bus: at, memory }));
    }
    Some(out)
}

/// Returns the windows through which a device sees memory, limited by the windows of outer buses.
/// The list is empty if the device sees all memory at its physical addresses.
///
/// Source: Linux 6.12 `drivers/of/address.c` `of_dma_get_range`; differs: the result may
/// have several windows.
pub(crate) fn windows(tree: &Tree, device: Id) -> Vec<Window> {
    let mut seen: Option<Vec<Window>> = None;
    let mut at = device;
    // The loop takes at most one step per level of the tree. The limit also ends cycles of interconnects.
    for level in 0..64 {
        let Some(bus) = parent(tree, at) else { break };
        let found = ranges(tree, bus);
        if found.is_none() && seen.is_none() && level > 0 {
            // Before the first window, Linux allows only the device's own bus to lack the property.
            break;
        }
        if let Some(found) = found.filter(|found| !found.is_empty()) {
            seen = Some(match seen {
                None => found,
                Some(below) => limit_windows(&below, &found),
            });
        }
        at = bus;
    }
    join_windows(seen.unwrap_or_default())
}

/// Joins windows that are adjacent on the bus and in memory.
fn join_windows(windows: Vec<Window>) -> Vec<Window> {
    let mut out: Vec<Window> = Vec::new();
    for window in windows {
        let bytes = out.last().and_then(|before| {
            let len = before.memory.bytes;
            let is_next = before.bus.checked_add(len) == Some(window.bus)
                && before.memory.start.checked_add(len) == Some(window.memory.start);
            len.checked_add(window.memory.bytes).filter(|_| is_next)
        });
        match (out.last_mut(), bytes) {
            (Some(before), Some(bytes)) => before.memory.bytes = bytes,
            _ => out.push(window),
        }
    }
    out
}

/// Limits a bus's windows (`below`) to the addresses that the outer bus's windows (`above`) pass on.
fn limit_windows(below: &[Window], above: &[Window]) -> Vec<Window> {
    let mut out = Vec::new();
    for inner in below {
        for outer in above {
            let Some(outer_bus) = Range::new(outer.bus, outer.memory.bytes) else {
                continue;
            };
            let first = inner.memory.start.max(outer_bus.start);
            let last = inner.memory.last().min(outer_bus.last());
            if first > last || out.len() >= MAX_WINDOWS {
                continue;
            }
            let memory = outer.memory.start.checked_add(first - outer_bus.start);
            let bus = inner.bus.checked_add(first - inner.memory.start);
            let bytes = (last - first).checked_add(1);
            if let (Some(start), Some(bus), Some(bytes)) = (memory, bus, bytes) {
                out.extend(Range::new(start, bytes).map(|memory| Window { bus, memory }));
            }
        }
    }
    out
}
