//! A receiver of digital video, such as HDMI: its modes, its signal and its EDID.

use crate::{Fraction, sys};
use vb3_queue::DriverError;

/// Bytes of an EDID block.
pub const EDID_BLOCK: usize = 128;
/// Maximum number of EDID blocks that a receiver stores.
pub const MAX_EDID_BLOCKS: usize = 4;

/// The timings of a progressive mode: `struct v4l2_bt_timings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Pixels of a line.
    pub width: u32,
    /// Lines of a frame.
    pub height: u32,
    /// `V4L2_DV_*_POS_POL`.
    pub polarities: u32,
    /// Pixels in a second.
    pub pixelclock: u64,
    /// Front porch, sync and back porch of a line, in pixels.
    pub horizontal: [u32; 3],
    /// Front porch, sync and back porch of a frame, in lines.
    pub vertical: [u32; 3],
    /// `V4L2_DV_BT_STD_*`.
    pub standards: u32,
    /// `V4L2_DV_FL_*`.
    pub flags: u32,
    /// The picture's aspect ratio; zeroes for square pixels.
    pub aspect: [u32; 2],
    /// Number of the mode in CEA-861, or 0.
    pub cea861_vic: u8,
    /// Number of the mode in HDMI, or 0.
    pub hdmi_vic: u8,
}

impl Timings {
    /// Returns the pixels of a frame, including blanking.
    fn total(&self) -> u64 {
        let whole = |active: u32, blank: [u32; 3]| {
            u64::from(active) + blank.map(u64::from).iter().sum::<u64>()
        };
        whole(self.width, self.horizontal).saturating_mul(whole(self.height, self.vertical))
    }

    /// Returns the duration of a frame in seconds.
    #[must_use]
    pub fn interval(&self) -> Fraction {
        let (mut a, mut b) = (self.total(), self.pixelclock);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let part = |value: u64| u32::try_from(value / a.max(1)).unwrap_or(u32::MAX);
        Fraction::new(part(self.total()), part(self.pixelclock))
    }

    /// Returns the frame rate in hundredths of a hertz, rounded.
    #[must_use]
    pub fn centihertz(&self) -> u64 {
        let total = self.total().max(1);
        (self.pixelclock.saturating_mul(100) + total / 2) / total
    }

    /// Returns whether two timings describe the same mode. Flags, standards, aspect and numbers of a mode are
    /// ignored.
    ///
    /// Source: Linux 7.2 `v4l2_match_dv_timings`.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let signal = |t: &Self| (t.width, t.height, t.polarities, t.pixelclock);
        signal(self) == signal(other)
            && (self.horizontal, self.vertical) == (other.horizontal, other.vertical)
    }
}

/// The reason why a receiver finds no timings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTimings {
    /// ENOLINK: there is no signal.
    NoSignal,
    /// ENOLCK: the receiver cannot lock to the signal.
    NoLock,
    /// ERANGE: the receiver does not support the signal's timings.
    OutOfRange,
}

impl NoTimings {
    /// Returns the errno of QUERY_DV_TIMINGS.
    #[must_use]
    pub const fn error(self) -> DriverError {
        match self {
            Self::NoSignal => DriverError::ENOLINK,
            Self::NoLock => DriverError::ENOLCK,
            Self::OutOfRange => DriverError::ERANGE,
        }
    }

    /// Returns the input's `V4L2_IN_ST_*`.
    pub(crate) const fn status(self) -> u32 {
        match self {
            Self::NoSignal => sys::V4L2_IN_ST_NO_SIGNAL,
            Self::NoLock | Self::OutOfRange => sys::V4L2_IN_ST_NO_H_LOCK,
        }
    }
}

/// The state of a receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The supported modes; not empty.
    pub modes: &'static [Timings],
    /// The mode that the program has set.
    pub timings: Timings,
    /// The mode of the signal from the source, or the reason why the receiver finds none.
    pub found: Result<Timings, NoTimings>,
    /// The EDID that the source reads: at most [`MAX_EDID_BLOCKS`] blocks, or empty.
    pub edid: Vec<u8>,
}

/// Returns whether an EDID has a valid physical address, or no address.
///
/// The address tells the source its place in the tree of HDMI devices. It has four digits; a digit after a
/// zero must be zero. Checksums are not compared.
///
/// Source: Linux 7.2 `cec_get_edid_phys_addr`, `v4l2_phys_addr_validate`.
pub(crate) fn has_valid_address(edid: &[u8]) -> bool {
    let (blocks, _) = edid.as_chunks::<EDID_BLOCK>();
    let Some((base, extensions)) = blocks.split_first() else {
        return true;
    };
    let used = extensions.iter().take(base[0x7e].into());
    let Some([high, low]) = used.filter(|block| block[..2] == [2, 3]).find_map(address) else {
        return true;
    };
    let digits = [high >> 4, high & 15, low >> 4, low & 15];
    digits.windows(2).all(|pair| pair[0] != 0 || pair[1] == 0) || (high, low) == (0xff, 0xff)
}

/// Returns the physical address in a CEA-861 extension's data block for HDMI.
fn address(block: &[u8; EDID_BLOCK]) -> Option<[u8; 2]> {
    const VENDOR: u8 = 3;
    const HDMI: [u8; 3] = [0x03, 0x0c, 0x00];
    let end = usize::from(block[2] & 0x7f);
    let mut data = block.get(4..end)?;
    while let Some((&head, rest)) = data.split_first() {
        let one = rest.get(..usize::from(head & 0x1f))?;
        if head >> 5 == VENDOR && one.len() >= 5 && one[..3] == HDMI {
            return Some([one[3], one[4]]);
        }
        data = &rest[one.len()..];
    }
    None
}
