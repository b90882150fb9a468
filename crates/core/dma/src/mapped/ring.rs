//! Rings: arrays in coherent memory that a device and the CPU use at the same time.

use super::coherent::Coherent;
use super::device::{DmaDevice, MapperRef};
use crate::error::check_within;
use crate::{DmaAddr, Error, Platform};
use core::fmt;
use core::marker::PhantomData;

use sealed::{Read, Write};

mod sealed {
    use crate::Error;

    /// Writes bytes at an offset.
    pub(super) type Write<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'a;
    /// Reads bytes at an offset.
    pub(super) type Read<'a> = dyn FnMut(u64, &mut [u8]) -> Result<(), Error> + 'a;

    pub trait Sealed: Copy {
        const LEN: usize;
        const ZERO: Self;

        /// Writes the value's integers in order, each by one call of `write` with its offset.
        fn store(&self, at: u64, write: &mut Write<'_>) -> Result<(), Error>;

        /// Reads the value's integers in order, each by one call of `read` with its offset.
        fn load(at: u64, read: &mut Read<'_>) -> Result<Self, Error>;
    }
}

/// Element of a [`Ring`]: an unsigned integer, or an array of elements. Integers have the CPU's byte order, so drivers
/// of little-endian devices convert them (`to_le`).
pub trait Element: sealed::Sealed {}

impl<T: sealed::Sealed> Element for T {}

macro_rules! integers {
    ($($int:ty)*) => {$(
        impl sealed::Sealed for $int {
            const LEN: usize = size_of::<$int>();
            const ZERO: Self = 0;

            fn store(
                &self,
                at: u64,
                write: &mut Write<'_>,
            ) -> Result<(), Error> {
                write(at, &self.to_ne_bytes())
            }

            fn load(
                at: u64,
                read: &mut Read<'_>,
            ) -> Result<Self, Error> {
                let mut bytes = [0; size_of::<$int>()];
                read(at, &mut bytes)?;
                Ok(Self::from_ne_bytes(bytes))
            }
        }
    )*};
}

integers!(u8 u16 u32 u64);

impl<T: sealed::Sealed, const N: usize> sealed::Sealed for [T; N] {
    const LEN: usize = T::LEN * N;
    const ZERO: Self = [T::ZERO; N];

    fn store(&self, at: u64, write: &mut Write<'_>) -> Result<(), Error> {
        let places = (at..).step_by(T::LEN.max(1));
        places
            .zip(self)
            .try_for_each(|(at, item)| item.store(at, write))
    }

    fn load(at: u64, read: &mut Read<'_>) -> Result<Self, Error> {
        let mut items = Self::ZERO;
        for (at, item) in (at..).step_by(T::LEN.max(1)).zip(&mut items) {
            *item = T::load(at, read)?;
        }
        Ok(items)
    }
}

/// An array of `T` in coherent memory, such as a descriptor ring. Each call accesses the memory anew, and calls the
/// host once for each integer. Dropping this value frees the memory.
///
/// # Examples
/// ```
/// use vb3_dma_test::fake::Setup;
///
/// let dma = Setup::iommu(32).mapper();
/// let nic = dma.device(0)?;
/// let (ring, tail) = (nic.alloc_ring::<[u64; 2]>(256)?, nic.alloc_ring::<u32>(1)?);
/// ring.set(3, [0x1000, 1500])?; // a descriptor
/// tail.publish(0, 4)?; // The device sees the descriptor before the tail.
/// let at = ring.addr().checked_add(3 * 16).ok_or(vb3_dma::Error::Invalid)?;
/// assert_eq!(dma.platform().dev_read(at, 8).unwrap(), 0x1000_u64.to_ne_bytes());
/// # Ok::<(), vb3_dma::Error>(())
/// ```
pub struct Ring<T: Element, H: MapperRef> {
    memory: Coherent<H>,
    len: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T: Element, H: MapperRef> fmt::Debug for Ring<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("addr", &self.addr())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<H: MapperRef> DmaDevice<H> {
    /// Allocates a ring of `len` elements, all zero.
    ///
    /// # Errors
    /// As [`alloc_coherent`](Self::alloc_coherent). `Invalid` (EINVAL) if the ring has no bytes, or more than a
    /// `usize` can count.
    ///
    /// # Context
    /// May sleep.
    pub fn alloc_ring<T: Element>(&self, len: usize) -> Result<Ring<T, H>, Error> {
        let bytes = T::LEN.checked_mul(len).ok_or(Error::Invalid)?;
        Ok(Ring {
            // CAST: `usize` has at most 64 bits.
            memory: self.alloc_coherent(bytes as u64)?,
            len,
            kind: PhantomData,
        })
    }
}

impl<T: Element, H: MapperRef> Ring<T, H> {
    /// Returns the device's address of the first element.
    #[must_use]
    pub fn addr(&self) -> DmaAddr {
        self.memory.addr()
    }

    /// Returns the number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the ring has no elements.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the offset of element `index` in bytes.
    fn place(&self, index: usize) -> Result<u64, Error> {
        // CAST: `usize` has at most 64 bits.
        check_within(self.len as u64, index as u64, 1)?;
        // No overflow: the element lies in the memory.
        Ok((index * T::LEN) as u64)
    }

    /// Reads element `index`.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) past the last element; `Unsupported` if the host has no views.
    pub fn get(&self, index: usize) -> Result<T, Error> {
        let at = self.place(index)?;
        T::load(at, &mut |at, bytes| self.memory.read(at, bytes))
    }

    /// Reads element `index` before all later reads, which therefore see what the device wrote before it changed this
    /// element.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn observe(&self, index: usize) -> Result<T, Error> {
        let value = self.get(index);
        self.memory.platform().barrier();
        value
    }

    /// Writes element `index`. The device may see several of these writes in any order.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn set(&self, index: usize, value: T) -> Result<(), Error> {
        let at = self.place(index)?;
        value.store(at, &mut |at, bytes| self.memory.write(at, bytes))
    }

    /// Writes element `index` after all earlier writes, so that the device sees the earlier writes first.
    ///
    /// If `T` is an array, the order of its integers is not defined. To publish a single word of a descriptor, use a
    /// ring of integers.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn publish(&self, index: usize, value: T) -> Result<(), Error> {
        self.memory.platform().barrier();
        self.set(index, value)
    }
}
