//! The structures of an ioctl, before and after the call.

use super::{Fields, Value, decode};
use vb3_dmabuf_files::{self as dmabuf, Shown};
use vb3_frontend::{Gathered, Need, Write};
use vb3_v4l2::decode::Array;

/// A copy of a part of the program's memory.
#[derive(Clone, Debug)]
struct Part {
    addr: u64,
    bytes: Vec<u8>,
}

impl Part {
    /// Copies the program's memory. If it cannot be read, returns zeros and `false`.
    ///
    /// # Errors
    /// `have` does not contain these bytes yet. The front end must get them from the program and repeat the call.
    fn read(have: &Gathered, addr: u64, len: usize) -> Result<(Self, bool), Need> {
        let Some(known) = have.bytes(addr, len) else {
            return Err(Need {
                bytes: vec![(addr, len as u64)],
                ..Need::default()
            });
        };
        let is_there = known.is_ok();
        let bytes = known.map_or_else(|_| vec![0; len], <[u8]>::to_vec);
        Ok((Self { addr, bytes }, is_there))
    }

    fn write(&mut self, addr: u64, data: &[u8]) {
        let from = addr.checked_sub(self.addr);
        let place = from.and_then(|from| self.bytes.get_mut(usize::try_from(from).ok()?..));
        for (to, byte) in place.into_iter().flatten().zip(data) {
            *to = *byte;
        }
    }
}

/// The memory that an ioctl uses: its structure, and the array that the structure points to.
#[derive(Debug)]
pub(super) struct Watched {
    request: u32,
    is_there: bool,
    structure: Part,
    array: Option<(Array, Part)>,
}

impl Watched {
    /// Copies the structure at `addr` and its array, if the ioctl passes them to the device.
    ///
    /// # Errors
    /// The bytes that `have` does not contain yet. The front end must get them from the program and repeat the call.
    /// The call must not reach the devices before that.
    pub(super) fn new(have: &Gathered, request: u32, addr: u64) -> Result<Self, Need> {
        let len = decode::size(request).min(decode::MAX_STRUCTURE);
        let reads = request & super::READS != 0;
        let (mut structure, is_there) = Part::read(have, addr, if reads { len } else { 0 })?;
        let array = decode::array(request, &structure.bytes).filter(|_| is_there);
        let array = match array {
            Some(array) => {
                let (part, is_there) = Part::read(have, array.addr, array.len_bytes)?;
                is_there.then_some((array, part))
            }
            None => None,
        };
        structure.bytes.resize(len, 0);
        Ok(Self {
            request,
            is_there,
            structure,
            array,
        })
    }

    /// Returns the program's arguments; `None` if its structure cannot be read.
    pub(super) fn arguments(&self) -> Option<Fields> {
        let mut fields = decode::arguments(self.request, &self.structure.bytes);
        fields.extend(values(dmabuf::arguments(
            self.request,
            &self.structure.bytes,
        )));
        if let Some((array, part)) = &self.array {
            fields.extend(array.arguments(&part.bytes));
        }
        self.is_there.then_some(fields)
    }

    /// Returns the device's results after a successful call, from what it writes to the program's memory.
    pub(super) fn results(&self, writes: &[Write]) -> Fields {
        let mut structure = self.structure.clone();
        let mut array = self.array.clone();
        for write in writes {
            structure.write(write.addr, &write.bytes);
            if let Some((_, part)) = &mut array {
                part.write(write.addr, &write.bytes);
            }
        }
        let mut fields = decode::results(self.request, &structure.bytes);
        fields.extend(values(dmabuf::results(self.request, &structure.bytes)));
        if let Some((array, part)) = &array {
            fields.extend(array.results(&part.bytes));
        }
        fields
    }
}

/// Converts the fields that `vb3-dmabuf-files` decodes (of ioctls on dma-bufs, heaps and sync files) to a trace's
/// values.
fn values(fields: Vec<(&'static str, Shown)>) -> impl Iterator<Item = (&'static str, Value)> {
    fields.into_iter().map(|(name, shown)| {
        let value = match shown {
            Shown::Number(number) => Value::Number(number),
            Shown::Unsigned(number) => Value::Unsigned(number),
            Shown::Word(word) => Value::Word(word),
        };
        (name, value)
    })
}
