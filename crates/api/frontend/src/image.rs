//! A program's structure as bytes, accessed by field offset.

/// A structure of an ioctl as bytes, accessed by field offset: `B` owns or borrows them.
///
/// Offsets are constants of the ABI. Reading outside the image gives zero, and writing there has no effect. With
/// debug assertions, most such accesses panic instead.
#[derive(Clone, Debug)]
pub struct Image<B>(pub B);

impl<B: AsRef<[u8]>> Image<B> {
    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        let all = self.0.as_ref();
        debug_assert!(at + N <= all.len(), "field at {at} outside {}", all.len());
        let found = all.get(at..).and_then(<[u8]>::first_chunk);
        found.copied().unwrap_or([0; N])
    }

    /// Returns the byte at offset `at`.
    #[must_use]
    pub fn u8(&self, at: usize) -> u8 {
        let [byte] = self.get(at);
        byte
    }

    /// Returns the signed byte at offset `at`.
    #[must_use]
    pub fn i8(&self, at: usize) -> i8 {
        self.u8(at).cast_signed()
    }

    /// Returns the 16-bit number at offset `at`.
    #[must_use]
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.get(at))
    }

    /// Returns the 32-bit number at offset `at`.
    #[must_use]
    pub fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.get(at))
    }

    /// Returns the signed 32-bit number at offset `at`.
    #[must_use]
    pub fn i32(&self, at: usize) -> i32 {
        i32::from_ne_bytes(self.get(at))
    }

    /// Returns the 64-bit number at offset `at`.
    #[must_use]
    pub fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.get(at))
    }

    /// Returns the signed 64-bit number at offset `at`.
    #[must_use]
    pub fn i64(&self, at: usize) -> i64 {
        i64::from_ne_bytes(self.get(at))
    }

    /// Returns the `N` bytes at offset `at`.
    #[must_use]
    pub fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.get(at)
    }
}

impl<B: AsMut<[u8]>> Image<B> {
    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        let all = self.0.as_mut();
        debug_assert!(at + N <= all.len(), "field at {at} outside {}", all.len());
        if let Some(slot) = all.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *slot = value;
        }
    }

    /// Sets the byte at offset `at`.
    pub fn set_u8(&mut self, at: usize, value: u8) {
        self.put(at, [value]);
    }

    /// Sets the 32-bit number at offset `at`.
    pub fn set_u32(&mut self, at: usize, value: u32) {
        self.put(at, value.to_ne_bytes());
    }

    /// Sets the signed 32-bit number at offset `at`.
    pub fn set_i32(&mut self, at: usize, value: i32) {
        self.put(at, value.to_ne_bytes());
    }

    /// Sets the 64-bit number at offset `at`.
    pub fn set_u64(&mut self, at: usize, value: u64) {
        self.put(at, value.to_ne_bytes());
    }

    /// Sets the signed 64-bit number at offset `at`.
    pub fn set_i64(&mut self, at: usize, value: i64) {
        self.put(at, value.to_ne_bytes());
    }

    /// Sets the `N` bytes at offset `at`.
    pub fn set_bytes<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.put(at, value);
    }

    /// Writes `text` into a field of `len` bytes, truncated and terminated by zero.
    pub fn set_text(&mut self, at: usize, len: usize, text: &str) {
        let all = self.0.as_mut();
        let end = at.checked_add(len);
        debug_assert!(end.is_some_and(|end| end <= all.len()), "text at {at}");
        let Some(slot) = end.and_then(|end| all.get_mut(at..end)) else {
            return;
        };
        slot.fill(0);
        let room = len.saturating_sub(1);
        for (to, from) in slot.iter_mut().zip(text.bytes().take(room)) {
            *to = from;
        }
    }

    /// Zeroes everything from offset `at` on.
    pub fn clear_from(&mut self, at: usize) {
        if let Some(tail) = self.0.as_mut().get_mut(at..) {
            tail.fill(0);
        }
    }

    /// Zeroes `len` bytes at offset `at`.
    pub fn clear(&mut self, at: usize, len: usize) {
        let all = self.0.as_mut();
        if let Some(slot) = at.checked_add(len).and_then(|end| all.get_mut(at..end)) {
            slot.fill(0);
        }
    }
}
