//! I/O page tables, byte for byte as IOMMUs walk them.
//!
//! [`PageTable`] stores a table in one of the [`Format`]s, in memory from a [`TableMemory`]. It uses no
//! heap and no lock, and only follows pointers that it wrote. The manuals leave some bits of a table entry
//! to software. These bits hold the number of used entries in the table that the entry points to, so an
//! empty table is found without a search.
//!
//! Every operation first counts the tables that it needs and allocates them all. Only then does it
//! write entries that a walker could see. A failed operation changes nothing.
//!
//! # Flushing
//! A walker may keep using removed entries and tables until its translation buffers are flushed.
//! [`PageTable::unmap`] therefore only retires empty tables. The host obtains them with
//! [`PageTable::take_retired`], then flushes, then frees them with [`Retired::free`]. Tables that are retired
//! during the flush wait for the next flush.
//!
//! # Examples
//! ```
//! use vb3_dma::iopt::{Config, Format, PageTable, TableMemory};
//! use vb3_dma::{Error, DmaAddr, PhysAddr, Prot};
//!
//! /// Tables live in an array; its first byte has the physical address 0x1000.
//! struct Tables { words: Vec<u64> }
//!
//! impl TableMemory for Tables {
//!     fn alloc_table(&mut self, len: u64) -> Result<PhysAddr, Error> {
//!         let at = 0x1000 + self.words.len() as u64 * 8;
//!         self.words.resize(self.words.len() + len as usize / 8, 0);
//!         Ok(PhysAddr::new(at))
//!     }
//!     fn free_table(&mut self, _table: PhysAddr, _len: u64) {}
//!     fn read_entry(&self, at: PhysAddr) -> u64 {
//!         self.words[(at.get() as usize - 0x1000) / 8]
//!     }
//!     fn write_entry(&mut self, at: PhysAddr, entry: u64) {
//!         self.words[(at.get() as usize - 0x1000) / 8] = entry;
//!     }
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let mut memory = Tables { words: Vec::new() };
//! let config = Config {
//!     format: Format::VtdSecondStage,
//!     page_sizes: 1 << 12 | 1 << 21,
//!     input_bits: 39,
//!     output_bits: 48,
//! };
//! let mut table = PageTable::new(&mut memory, &config)?;
//! let (iova, phys) = (DmaAddr::new(0x20_0000), PhysAddr::new(0x4000_0000));
//! table.map(&mut memory, iova, phys, 0x20_1000, Prot::READ)?;
//! // One block of 2 MiB and one page: the root, a table for the block, and one for the page.
//! assert_eq!((table.leaf_count(), table.tables()), (2, 3));
//! assert_eq!(table.translate(&memory, iova).map(|leaf| leaf.len), Some(2 << 20));
//! # Ok(())
//! # }
//! ```

mod arm;
mod entry;
mod layout;
mod map;
mod table;
mod unmap;
mod vtd;
mod walk;

pub use arm::MAIR;
pub use layout::{Config, Format};
pub use table::{PageTable, Retired, TableMemory};
pub use walk::Leaf;
