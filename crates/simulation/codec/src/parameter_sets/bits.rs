//! Writing and reading of bits in NAL units.

use std::ops::Range;

/// Collects bits, highest first.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the incomplete last byte, and their number.
    rest: (u8, u32),
}

impl BitWriter {
    /// Writes the lowest `count` bits of a value, at most 64.
    pub(crate) fn put(&mut self, value: u64, count: u32) {
        for at in (0..count).rev() {
            // CAST: the value is one bit.
            let bit = (value >> at & 1) as u8;
            self.rest = (self.rest.0 << 1 | bit, self.rest.1 + 1);
            if self.rest.1 == 8 {
                self.bytes.push(self.rest.0);
                self.rest = (0, 0);
            }
        }
    }

    /// Writes a flag, and returns it.
    pub(crate) fn flag(&mut self, value: bool) -> bool {
        self.put(value.into(), 1);
        value
    }

    /// Writes an Exp-Golomb code, ITU-T H.264 9.1.
    pub(super) fn ue(&mut self, value: u64) {
        let code = value + 1;
        let len = code.ilog2();
        self.put(0, len);
        self.put(code, len + 1);
    }

    /// Writes a signed Exp-Golomb code, ITU-T H.264 9.1.1.
    pub(super) fn se(&mut self, value: i32) {
        let twice = 2 * u64::from(value.unsigned_abs());
        self.ue(if value > 0 { twice - 1 } else { twice });
    }

    /// Returns the number of bits.
    pub(crate) fn len(&self) -> usize {
        // CAST: widening, on all existing targets.
        8 * self.bytes.len() + self.rest.1 as usize
    }

    /// Appends the bits of another writer.
    pub(super) fn append(&mut self, other: &Self) {
        other
            .bytes
            .iter()
            .for_each(|byte| self.put((*byte).into(), 8));
        self.put(other.rest.0.into(), other.rest.1);
    }

    /// Appends some bits of a payload.
    pub(super) fn copy(&mut self, payload: &[u8], bits: Range<usize>) {
        for at in bits {
            self.flag(bit_of(payload, at).unwrap_or_default());
        }
    }

    /// Appends a payload's bits from `from` on. The caller guarantees that `from % 8` equals `len() % 8`.
    pub(super) fn copy_rest(&mut self, payload: &[u8], from: usize) {
        let whole = from.next_multiple_of(8);
        self.copy(payload, from..whole);
        self.bytes
            .extend(payload.get(whole / 8..).unwrap_or_default());
    }

    /// Returns the bytes. Zeros fill the last byte.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        while self.rest.1 != 0 {
            self.flag(false);
        }
        self.bytes
    }

    /// Ends the payload with a stop bit, and returns a NAL unit with a start code.
    pub(super) fn nal_unit(mut self, header: &[u8]) -> Vec<u8> {
        self.flag(true);
        while self.rest.1 != 0 {
            self.flag(false);
        }
        self.complete(header)
    }

    /// Returns a NAL unit of complete bytes, with a start code.
    pub(super) fn complete(self, header: &[u8]) -> Vec<u8> {
        let mut nal = vec![0, 0, 0, 1];
        nal.extend(header);
        let mut zeros = 0;
        for byte in self.bytes {
            // Inserts a byte for emulation prevention.
            if zeros >= 2 && byte <= 3 {
                nal.push(3);
                zeros = 0;
            }
            nal.push(byte);
            zeros = if byte == 0 { zeros + 1 } else { 0 };
        }
        nal
    }
}

fn bit_of(bytes: &[u8], at: usize) -> Option<bool> {
    let byte = bytes.get(at / 8)?;
    Some(byte >> (7 - at % 8) & 1 != 0)
}

/// Reads bits of a payload.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// Makes a reader of a payload without emulation prevention.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the number of bits read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) fn bit(&mut self) -> Option<bool> {
        let bit = bit_of(self.bytes, self.at)?;
        self.at += 1;
        Some(bit)
    }

    /// Skips bits, without a check that they exist. If they do not, the next read returns `None`.
    pub(super) fn skip(&mut self, count: u32) {
        // CAST: widening, on all existing targets.
        self.at = self.at.saturating_add(count as usize);
    }

    /// Reads an Exp-Golomb code; `None` if it is too long.
    pub(super) fn ue(&mut self) -> Option<u32> {
        let mut len = 0;
        while !self.bit()? {
            len += 1;
            if len > 31 {
                return None;
            }
        }
        let mut code = 1_u32;
        for _ in 0..len {
            code = code << 1 | u32::from(self.bit()?);
        }
        Some(code - 1)
    }
}

/// Removes emulation prevention.
pub(super) fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        payload.push(byte);
        zeros = if byte == 0 { zeros + 1 } else { 0 };
    }
    payload
}

/// Iterates over the NAL units of a byte stream, without start codes.
pub(super) fn nal_units(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    let find = |bytes: &[u8]| bytes.windows(3).position(|three| three == [0, 0, 1]);
    rest = find(rest)
        .and_then(|at| rest.get(at + 3..))
        .unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = find(rest).unwrap_or(rest.len());
        let nal = rest.get(..end);
        rest = rest.get(end + 3..).unwrap_or_default();
        nal
    })
}

/// Iterates over the diagonals of a square of `side` rows, from the top left.
/// Each diagonal begins at its lower left end.
pub(super) fn upward_diagonals(side: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..2 * side).map(move |sum| {
        let columns = (0..=sum).filter(|column| *column < side && sum - column < side);
        columns
            .map(|column| (sum - column) * side + column)
            .collect()
    })
}
