//! A device's demands on memory at any address.

use super::parse::parse_switch;
use vb3_dma::Protected;

/// The demands of a device and its driver on memory at any address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Whether it sees the CPU's caches; `None` for the machine's default.
    pub coherent: Option<bool>,
    /// Whether its driver never syncs, so device and CPU must see the same bytes without syncs.
    pub unsynced: bool,
    /// Whether its driver needs memory with struct pages.
    pub pages: bool,
    /// Whether it uses protected memory.
    pub protected: Protected,
}

impl Demands {
    /// Sets one option; `None` for an invalid value.
    pub(super) fn set(&mut self, option: &str, value: &str) -> Option<()> {
        match option {
            "coherent" => self.coherent = Some(parse_switch(value)?),
            "sync" => self.unsynced = !parse_switch(value)?,
            "pages" => self.pages = parse_switch(value)?,
            _ => {
                self.protected = match value {
                    "off" => Protected::Never,
                    "on" => Protected::Also,
                    "only" => Protected::Only,
                    _ => return None,
                };
            }
        }
        Some(())
    }
}
