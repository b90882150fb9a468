//! Mappings whose types state the direction of transfer and the owner of the bytes: [`Mapped`] while the device owns
//! them, [`CpuOwned`] while the CPU does. Dropping one unmaps it.
//!
//! The types use the plain calls of [`Mapper`](crate::Mapper). Hosts that track their mappings themselves
//! can make these calls directly.
//!
//! Each of these values is a guard that keeps a reference to its mapper. With `&Mapper`, the mapper must
//! outlive the guard; with `Arc<Mapper>`, the guard keeps the mapper alive ([`MapperRef`]).
//!
//! # Examples
//! ```
//! use vb3_dma_test::fake::Setup;
//! use vb3_dma::mapped::FromDevice;
//!
//! let dma = Setup::direct().non_coherent().mapper();
//! let camera = dma.device(0)?;
//! let frame = camera.map(camera.alloc(4096)?, FromDevice)?;
//! dma.platform().dev_write(frame.addr(), b"a frame");
//! let frame = frame.into_cpu()?;
//! let mut seen = [0; 7];
//! frame.view()?.read(0, &mut seen)?;
//! assert_eq!(&seen, b"a frame");
//! drop(frame); // unmaps, and frees the memory
//! assert!(dma.live().is_empty());
//! # Ok::<(), vb3_dma::Error>(())
//! ```
//! While the CPU owns the memory, the mapping has no address for the device:
//! ```compile_fail,E0599
//! # use vb3_dma_test::fake::{Setup, ram};
//! # use vb3_dma::mapped::FromDevice;
//! # let dma = Setup::direct().mapper();
//! let frame = dma.device(0).unwrap().map_raw(ram(0, 4096), FromDevice).unwrap();
//! let frame = frame.into_cpu().ok().unwrap();
//! frame.addr();
//! ```
//! While the device owns the memory, the CPU has no view:
//! ```compile_fail,E0599
//! # use vb3_dma_test::fake::{Setup, ram};
//! # use vb3_dma::mapped::FromDevice;
//! # let dma = Setup::direct().mapper();
//! let frame = dma.device(0).unwrap().map_raw(ram(0, 4096), FromDevice).unwrap();
//! frame.view();
//! ```
//! The CPU cannot read back memory that the device only reads:
//! ```compile_fail,E0080
//! # use vb3_dma_test::fake::{Setup, ram};
//! # use vb3_dma::mapped::ToDevice;
//! # let dma = Setup::direct().mapper();
//! let frame = dma.device(0).unwrap().map_raw(ram(0, 4096), ToDevice).unwrap();
//! let frame = frame.into_cpu().ok().unwrap();
//! frame.view().unwrap().read(0, &mut [0; 4]);
//! ```
//! Memory is not freed while it is mapped:
//! ```compile_fail,E0505
//! # use vb3_dma_test::fake::Setup;
//! # use vb3_dma::{DmaOps, mapped::ToDevice};
//! # let dma = Setup::direct().mapper();
//! let memory = dma.alloc_virtual(4096).unwrap();
//! let frame = dma.device(0).unwrap().map(&memory, ToDevice).unwrap();
//! dma.free(memory);
//! drop(frame);
//! ```
//! A mapping does not outlive its mapper:
//! ```compile_fail,E0505
//! # use vb3_dma_test::fake::{Setup, ram};
//! # use vb3_dma::mapped::ToDevice;
//! let dma = Setup::direct().mapper();
//! let frame = dma.device(0).unwrap().map_raw(ram(0, 4096), ToDevice).unwrap();
//! drop(dma);
//! drop(frame);
//! ```

mod coherent;
mod device;
mod guard;
mod memory;
mod ring;

pub use coherent::Coherent;
pub use device::{DmaDevice, MapperRef};
pub use guard::{CpuOwned, CpuView, Mapped, NotHandedOver};
pub use memory::{InRuns, Mappable, OwnedMemory, Raw};
pub use ring::{Element, Ring};

use crate::Direction;

mod sealed {
    pub trait Sealed {}
}

/// A direction of transfer, as a type.
pub trait MapDirection: sealed::Sealed {
    /// The direction as a value.
    const DIRECTION: Direction;
}

/// The device reads what the CPU wrote.
#[derive(Clone, Copy, Debug)]
pub struct ToDevice;
/// The CPU reads what the device wrote.
#[derive(Clone, Copy, Debug)]
pub struct FromDevice;
/// CPU and device both read what the other wrote.
#[derive(Clone, Copy, Debug)]
pub struct Bidirectional;

impl sealed::Sealed for ToDevice {}
impl sealed::Sealed for FromDevice {}
impl sealed::Sealed for Bidirectional {}

impl MapDirection for ToDevice {
    const DIRECTION: Direction = Direction::ToDevice;
}
impl MapDirection for FromDevice {
    const DIRECTION: Direction = Direction::FromDevice;
}
impl MapDirection for Bidirectional {
    const DIRECTION: Direction = Direction::Bidirectional;
}
