//! A loopback for the host: its identity, and frames that the host passes to the readers in place of a program.

use super::link::{Body, Link, Shared};
use crate::Failure;
use crate::streaming::Stamp;
use vb3_v4l2::pixfmt;

impl Link {
    /// Returns whether the loopback has one node with the identity v4l2loopback.
    #[must_use]
    pub fn is_v4l2loopback(&self) -> bool {
        self.lock().settings.is_some()
    }

    /// Returns the number of bytes that a frame must have. A frame of a compressed format may be shorter.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        self.lock().frame_bytes()
    }

    /// Passes a frame to the readers as if a program had written it at `time_ns`, a time of the devices' clock.
    /// Returns the frame's number, for [`is_delivered`](Self::is_delivered).
    ///
    /// # Errors
    /// Fails, with a message for the user, if a program writes to the loopback, or if the frame's length is not
    /// that of the loopback's format.
    pub fn push(&self, bytes: Vec<u8>, time_ns: u64) -> Result<u64, Failure> {
        let mut shared = self.lock();
        if shared.parties.values().any(|party| party.is_busy_writer()) {
            let taken = "a program writes to this loopback; it must free its buffers first";
            return Err(Failure::new(taken));
        }
        let (wanted, found) = (shared.frame_bytes(), bytes.len() as u64);
        let format = shared.format;
        let is_compressed =
            pixfmt::lookup(format.fourcc).is_some_and(|pixel| pixel.is_compressed());
        if found != wanted && !(is_compressed && (1..wanted).contains(&found)) {
            return Err(Failure::new(format!(
                "the frame has {found} bytes; a frame of {}x{} in {} has {wanted}",
                format.width, format.height, format.fourcc
            )));
        }
        if !shared.is_written {
            shared.begin();
        }
        shared.fill.note_written(time_ns);
        let sequence = shared.written;
        shared.written = shared.written.wrapping_add(1);
        shared.push(Body::Own(bytes.into()), Stamp::new(sequence, time_ns));
        Ok(shared.newest())
    }

    /// Returns whether at least one reader streams, and each reader that streams has got the frame with this number
    /// or a later one.
    #[must_use]
    pub fn is_delivered(&self, number: u64) -> bool {
        let shared = self.lock();
        let mut readers = shared.parties.values().filter_map(|party| {
            let next = party.next?;
            Some(next > number && party.copying.is_none_or(|copied| copied > number))
        });
        let first = readers.next();
        first.is_some_and(|has_got| has_got) && readers.all(|has_got| has_got)
    }
}

impl Shared {
    fn frame_bytes(&self) -> u64 {
        let planes = self.format.layouts().iter();
        planes.map(|plane| u64::from(plane.sizeimage)).sum()
    }
}
