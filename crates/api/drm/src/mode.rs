//! Display modes: sizes and timings.

use crate::Error;
use crate::bytes::{Arg, Image, MAX_ARG, at, get, set};

/// Bytes of `struct drm_mode_modeinfo`.
pub(crate) const MODE_BYTES: usize = size_of::<crate::sys::drm_mode_modeinfo>();
/// `DRM_MODE_FLAG_ALL`: the flags that a program may set, without stereo layouts.
const FLAGS: u32 = 0x33ff | 0xf << 19 | 0x1f << 14;
/// `DRM_MODE_TYPE_PREFERRED` and `DRM_MODE_TYPE_DRIVER`.
const TYPE_PREFERRED: u32 = 1 << 3;
const TYPE_DRIVER: u32 = 1 << 6;
/// Shortest and longest frame in nanoseconds, whatever timings a program chooses.
const FRAME_NS: (u64, u64) = (1_000_000, 1_000_000_000);

/// A display mode as `struct drm_mode_modeinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub(crate) [u8; MODE_BYTES]);

impl Mode {
    /// Makes a mode of this size and rate, with short blanking. The first mode of a list is the preferred one.
    #[must_use]
    pub fn new(width: u32, height: u32, frames_per_second: u32, is_preferred: bool) -> Self {
        let [width, height] = [width, height].map(|n| n.clamp(1, 16384));
        let fps = frames_per_second.clamp(1, 1000);
        let (across, down) = (width + 160, height + 30);
        let h = [width, width + 48, width + 80, across];
        let v = [height, height + 3, height + 8, down];
        let clock_khz = (across * down / 10 * fps).div_ceil(100);
        // Positive horizontal and negative vertical sync.
        Self::timed(clock_khz, (h, v), 1 | 8, is_preferred)
    }

    /// Makes a mode of these timings: for each direction the active size, the start and the end of the sync, and
    /// the total.
    pub(crate) fn timed(
        clock_khz: u32,
        (h, v): ([u32; 4], [u32; 4]),
        flags: u32,
        is_preferred: bool,
    ) -> Self {
        let mut arg = Image([0; MAX_ARG]);
        let words = h.into_iter().chain([0]).chain(v);
        for (word, at) in words.zip((4..).step_by(2)) {
            // CAST: the bounded size plus blanking fits in 16 bits.
            arg.set_bytes(at, (word as u16).to_ne_bytes());
        }
        let dots = u64::from(h[3]) * u64::from(v[3]);
        let fps = (u64::from(clock_khz) * 1000 + dots / 2).checked_div(dots);
        let preferred = if is_preferred { TYPE_PREFERRED } else { 0 };
        // CAST: the rate is at most the clock in Hz, which has 32 bits.
        set!(arg, drm_mode_modeinfo: clock = clock_khz, vrefresh = fps.unwrap_or(0) as u32,
            flags = flags, type_ = TYPE_DRIVER | preferred);
        let name = format!("{}x{}", h[0], v[0]);
        arg.set_text(at!(drm_mode_modeinfo.name), 32, &name);
        Self(arg.bytes(0))
    }

    /// Reads a program's mode, and checks it as Linux does (`drm_mode_convert_umode`).
    pub(crate) fn from_bytes(bytes: [u8; MODE_BYTES]) -> Result<Self, Error> {
        let mode = Self(bytes);
        let mut arg = mode.arg();
        let (clock, refresh, flags, kind) =
            get!(arg, drm_mode_modeinfo: clock, vrefresh, flags, type_);
        if clock > i32::MAX as u32 || refresh > i32::MAX as u32 {
            return Err(Error::Range("mode's clock or refresh rate", clock.into()));
        }
        if flags & !FLAGS != 0 {
            return Err(Error::Invalid("mode's flags", flags.into()));
        }
        if clock == 0 {
            return Err(Error::Invalid("mode's clock", 0));
        }
        let words = mode.words();
        let [h, v] = [0, 5].map(|first| words.get(first..first + 4).unwrap_or_default());
        for timing in [h, v] {
            let is_ordered = timing.is_sorted() && timing.first().is_some_and(|shown| *shown > 0);
            if !is_ordered {
                let shown = timing.first().copied().unwrap_or(0);
                return Err(Error::Invalid("mode's timings (active size)", shown.into()));
            }
        }
        set!(arg, drm_mode_modeinfo: type_ = kind & 0x7f);
        // The name ends with a zero.
        arg.set_u8(MODE_BYTES - 1, 0);
        Ok(Self(arg.bytes(0)))
    }

    fn arg(&self) -> Arg {
        let mut arg = Image([0; MAX_ARG]);
        arg.set_bytes(0, self.0);
        arg
    }

    /// hdisplay, hsync_start, hsync_end, htotal, hskew, and the same of the vertical direction.
    fn words(&self) -> [u16; 10] {
        let arg = self.arg();
        core::array::from_fn(|word| arg.u16(4 + 2 * word))
    }

    /// Returns the width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.words()[0].into()
    }

    /// Returns the height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.words()[5].into()
    }

    /// Returns the name, such as `1280x720`.
    #[must_use]
    pub fn name(&self) -> String {
        let name = &self.0[at!(drm_mode_modeinfo.name)..];
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// Returns the duration of a frame in nanoseconds, 1 ms to 1 s.
    #[must_use]
    pub fn frame_ns(&self) -> u64 {
        let words = self.words();
        let dots = u64::from(words[3]) * u64::from(words[8]);
        let clock = u64::from(get!(self.arg(), drm_mode_modeinfo: clock)).max(1);
        (dots * 1_000_000 / clock).clamp(FRAME_NS.0, FRAME_NS.1)
    }
}
