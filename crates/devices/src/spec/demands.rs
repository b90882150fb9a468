//! A device's demands on memory, apart from those on its address.

use super::parse::{parse_switch, parse_word};
use vb3_dma::Protected;

/// What a device and its driver demand of memory, apart from its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Whether the device sees the CPU's caches; if `None`, the machine's default holds.
    pub coherent: Option<bool>,
    /// Whether the driver omits cache syncs. The memory must then work without them.
    pub unsynced: bool,
    /// Whether the driver needs memory with struct pages.
    pub pages: bool,
    /// Whether the device uses protected memory.
    pub protected: Protected,
}

impl Demands {
    /// Sets one of these options; `None` for an invalid value.
    pub(super) fn set(&mut self, option: &str, value: &str) -> Option<()> {
        match option {
            "coherent" => self.coherent = Some(parse_switch(value)?),
            "sync" => self.unsynced = !parse_switch(value)?,
            "pages" => self.pages = parse_switch(value)?,
            _ => {
                use Protected::{Also, Never, Only};
                self.protected =
                    parse_word(value, &[("off", Never), ("on", Also), ("only", Only)])?;
            }
        }
        Some(())
    }
}
