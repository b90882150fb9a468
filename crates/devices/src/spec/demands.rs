//! What a device demands of memory, wherever that lies.

use super::parse::parse_switch;
use vb3_dma::Protected;

/// What a device and its driver demand of memory, wherever that lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Whether it sees the CPU's caches; `None` for as the machine's devices do.
    pub coherent: Option<bool>,
    /// Whether its driver never syncs: device and CPU must see the same bytes without.
    pub unsynced: bool,
    /// Whether its driver takes memory with pages behind it alone.
    pub pages: bool,
    /// Whether it uses protected memory.
    pub protected: Protected,
}

impl Demands {
    /// Sets one option; `None` for a value that it does not take.
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
