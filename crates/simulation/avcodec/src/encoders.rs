//! libavcodec's encoders through `shim/`. Only this module calls them.
#![expect(unsafe_code, reason = "calls a C library")]

use crate::library::{Error, error, text};
use std::ffi::{CStr, c_char, c_int};
use std::ptr::NonNull;
use vb3_codec::{Planes, StreamColor, StreamSettings};

/// The encoded format, as `enum vb3_av_encoder_codec`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Codec {
    Vp8,
    Hevc,
    H264,
}

/// Returns the name of an encoder if the library has it.
pub(crate) fn name(of: &CStr) -> Option<String> {
    // SAFETY: the call reads the name, and handles an unknown one.
    text(unsafe { vb3_av_encoder(of.as_ptr()) })
}

/// Settings of an encoder, as `struct vb3_av_settings`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Settings {
    pub(crate) codec: Codec,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Number of pictures in `seconds` seconds.
    pub(crate) frames: u32,
    pub(crate) seconds: u32,
    /// Bits per second.
    pub(crate) bitrate: u32,
    /// 1 for a constant bitrate.
    pub(crate) constant: u32,
    /// Largest distance of key frames; see [`most_pictures`].
    pub(crate) gop: u32,
    /// VP8: 0 to 3. H.264: 0 Constrained Baseline, 1 Main, 2 High.
    pub(crate) profile: u32,
    /// H.264: `level_idc`, 9 for level 1b, 0 for the lowest that fits. HEVC: 10 times the level.
    pub(crate) level: u32,
    /// HEVC: largest bitrate that the level allows, in kbit/s.
    pub(crate) most_kilobits: u32,
    /// In the library's units: VP8 0 to 63, HEVC 0 to 51.
    pub(crate) least_quantizer: u32,
    pub(crate) greatest_quantizer: u32,
    /// H.264 and HEVC: three code points of ITU-T H.273, and 1 for full range.
    pub(crate) primaries: u8,
    pub(crate) transfer: u8,
    pub(crate) matrix: u8,
    pub(crate) full_range: u8,
}

impl Settings {
    /// Returns the settings that all codecs have, for a stream. The settings that only some codecs have
    /// are zero.
    pub(crate) fn of(codec: Codec, stream: &StreamSettings, color: StreamColor) -> Self {
        Self {
            codec,
            width: stream.width,
            height: stream.height,
            frames: stream.rate.0,
            seconds: stream.rate.1,
            bitrate: stream.bitrate,
            constant: 0,
            gop: most_pictures(stream.gop),
            profile: 0,
            level: 0,
            most_kilobits: 0,
            least_quantizer: 0,
            greatest_quantizer: 0,
            primaries: color.primaries,
            transfer: color.transfer,
            matrix: color.matrix,
            full_range: color.full_range.into(),
        }
    }
}

/// Converts a distance of key frames to the library's number. 0 means no limit.
const fn most_pictures(gop: u32) -> u32 {
    match gop {
        0 => i32::MAX.unsigned_abs(),
        gop => gop,
    }
}

/// Has the layout of `struct vb3_av_packet`.
#[repr(C)]
struct RawPacket {
    data: *const u8,
    len: usize,
    key: u32,
}

/// Stands for `struct vb3_av_encoder`, which is opaque.
#[repr(C)]
struct RawEncoder {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn vb3_av_encoder(name: *const c_char) -> *const c_char;
    fn vb3_av_encoder_open(settings: *const Settings) -> *mut RawEncoder;
    fn vb3_av_encoder_close(av: *mut RawEncoder);
    fn vb3_av_set_bitrate(av: *mut RawEncoder, bitrate: u32);
    fn vb3_av_encode(
        av: *mut RawEncoder,
        planes: *const *const u8,
        strides: *const usize,
        number: i64,
        force_key: c_int,
    ) -> c_int;
    fn vb3_av_packet(av: *mut RawEncoder, packet: *mut RawPacket) -> c_int;
}

/// An encoder of the library.
pub(crate) struct Encoder {
    raw: NonNull<RawEncoder>,
    size: (u32, u32),
}

impl Encoder {
    /// Opens an encoder; `None` if the library has none, lacks memory, or does not support the settings.
    pub(crate) fn open(settings: &Settings) -> Option<Self> {
        // SAFETY: the settings have the C layout, and are read before the call returns.
        let raw = NonNull::new(unsafe { vb3_av_encoder_open(settings) })?;
        let size = (settings.width, settings.height);
        Some(Self { raw, size })
    }

    /// Sets the bitrate (bit/s) from the next picture on. Only for H.264.
    pub(crate) fn set_bitrate(&mut self, bitrate: u32) {
        // SAFETY: the encoder belongs to `self`.
        unsafe { vb3_av_set_bitrate(self.raw.as_ptr(), bitrate) };
    }

    /// Encodes a picture. Returns the packet, if any, and whether it is decodable without other packets.
    /// `number` increases by 1 from picture to picture.
    pub(crate) fn encode(
        &mut self,
        picture: &Planes<'_>,
        number: u64,
        force_key: bool,
    ) -> Result<Option<(&[u8], bool)>, Error> {
        if !self.has(picture) {
            return Err(Error {
                sentence: "the picture does not have the size that the encoder was set up for"
                    .to_owned(),
                unsupported: false,
            });
        }
        let planes = picture.data.map(<[u8]>::as_ptr);
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        // SAFETY: the encoder belongs to `self`. `has` has checked that each plane has the rows of the
        // configured size, and the call copies them.
        let failed = unsafe {
            let (planes, strides) = (planes.as_ptr(), picture.strides.as_ptr());
            vb3_av_encode(self.raw.as_ptr(), planes, strides, number, force_key.into())
        };
        if failed < 0 {
            return Err(error(failed));
        }
        let mut packet = RawPacket {
            data: std::ptr::null(),
            len: 0,
            key: 0,
        };
        // SAFETY: the encoder belongs to `self`, and the call fills `packet`.
        let found = unsafe { vb3_av_packet(self.raw.as_ptr(), &raw mut packet) };
        if found < 0 {
            return Err(error(found));
        }
        if found == 0 || packet.data.is_null() {
            return Ok(None);
        }
        // SAFETY: the packet's `len` bytes stay valid until the next call. That call needs the encoder
        // exclusively, and the result borrows it.
        let bytes = unsafe { core::slice::from_raw_parts(packet.data, packet.len) };
        Ok(Some((bytes, packet.key != 0)))
    }

    /// Returns whether a picture's planes are long enough for the configured size.
    fn has(&self, picture: &Planes<'_>) -> bool {
        let (width, height) = self.size;
        let half = (width.div_ceil(2), height.div_ceil(2));
        let planes = picture.data.iter().zip(picture.strides);
        let is_there = |((data, stride), (columns, rows)): ((&&[u8], usize), (u32, u32))| {
            let (columns, rows) = (columns as usize, rows as usize);
            let last = rows.saturating_sub(1).checked_mul(stride);
            let end = last.and_then(|last| last.checked_add(columns));
            stride >= columns && end.is_some_and(|end| end <= data.len())
        };
        (picture.width, picture.height) == self.size
            && planes.zip([self.size, half, half]).all(is_there)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the encoder belongs to `self` and is not used again.
        unsafe { vb3_av_encoder_close(self.raw.as_ptr()) };
    }
}
