//! Random choices that are determined by one number of the fuzzer's input.

use arbitrary::{Arbitrary, Unstructured};

/// Maximum number of steps in one input.
const MAX_STEPS: usize = 128;

/// A small generator (splitmix64): the same seed makes the same choices.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Returns the next number.
    #[allow(
        clippy::should_implement_trait,
        reason = "the numbers do not end, so they are never `None`"
    )]
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Returns a number below `n`.
    pub const fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Cuts data into pieces of 1 to `most` bytes.
    pub fn pieces<'a>(&mut self, mut data: &'a [u8], most: usize) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        while !data.is_empty() {
            let len = (1 + self.below(most)).min(data.len());
            let (head, tail) = data.split_at(len);
            pieces.push(head);
            data = tail;
        }
        pieces
    }
}

/// The rest of the input, unchanged, so that the fuzzer sees the stream's bytes.
#[derive(Clone, Debug)]
pub struct Rest(pub Vec<u8>);

impl<'a> Arbitrary<'a> for Rest {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let len = u.arbitrary_len::<u8>()?;
        Ok(Self(u.bytes(len)?.to_vec()))
    }

    fn arbitrary_take_rest(u: Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(u.take_rest().to_vec()))
    }
}

/// Steps of a type, as many as the input has bytes for.
#[derive(Clone, Debug)]
pub struct Steps<T>(pub Vec<T>);

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Steps<T> {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut steps = Vec::new();
        while !u.is_empty() && steps.len() < MAX_STEPS {
            steps.push(u.arbitrary()?);
        }
        Ok(Self(steps))
    }
}
