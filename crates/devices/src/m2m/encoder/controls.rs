//! Controls of encoders.

use super::MIN_BUFFERS;
use crate::surface::{EBUSY, EINVAL};
use vb3_codec::{H264Profile, Kind};
use vb3_queue::DriverError;
use vb3_v4l2::{ControlFlags, ControlSpec, ControlValue, cid};

/// The library spends more on one picture and less on another.
const BITRATE_MODES: &[&str] = &["Variable Bitrate"];
/// As the kernel counts them; libvpx has both.
const VPX_BITRATE_MODES: &[&str] = &["Variable Bitrate", "Constant Bitrate"];
const VP8_PROFILES: &[&str] = &["0", "1", "2", "3"];
/// Greatest index of a VP8 quantizer (RFC 6386, section 9.6).
const MAX_QP: u8 = 127;
/// Parameter sets are in the buffer of the picture that needs them.
const HEADER_MODES: &[&str] = &["", "Joined With 1st Frame"];
const PROFILES: &[&str] = &["Baseline", "Constrained Baseline", "Main", "", "High"];
const LEVELS: &[&str] = &[
    "1", "1b", "1.1", "1.2", "1.3", "2", "2.1", "2.2", "3", "3.1", "3.2", "4", "4.1", "4.2", "5",
    "5.1", "5.2",
];
/// What a level allows (ITU-T H.264, table A-1).
struct Limits {
    level_idc: u8,
    /// Macroblocks a second, in a picture, and thousands of bits a second.
    rate: u64,
    picture: u64,
    kilobits: u64,
}

const fn limits(level_idc: u8, rate: u64, picture: u64, kilobits: u64) -> Limits {
    Limits {
        level_idc,
        rate,
        picture,
        kilobits,
    }
}

/// Of each of [`LEVELS`].
const LIMITS: [Limits; 17] = [
    limits(10, 1485, 99, 64),
    limits(9, 1485, 99, 128),
    limits(11, 3000, 396, 192),
    limits(12, 6000, 396, 384),
    limits(13, 11_880, 396, 768),
    limits(20, 11_880, 396, 2000),
    limits(21, 19_800, 792, 4000),
    limits(22, 20_250, 1620, 4000),
    limits(30, 40_500, 1620, 10_000),
    limits(31, 108_000, 3600, 14_000),
    limits(32, 216_000, 5120, 20_000),
    limits(40, 245_760, 8192, 20_000),
    limits(41, 245_760, 8192, 50_000),
    limits(42, 522_240, 8704, 50_000),
    limits(50, 589_824, 22_080, 135_000),
    limits(51, 983_040, 36_864, 240_000),
    limits(52, 2_073_600, 36_864, 240_000),
];

/// Values of an encoder's controls.
#[derive(Debug)]
pub(super) struct Controls {
    kind: Kind,
    /// Bits a second.
    pub(super) bitrate: u32,
    /// Pictures from one that needs no other to the next.
    pub(super) gop: u32,
    profile: usize,
    level: usize,
    /// VP8: whether as many bits are spent at all times.
    pub(super) constant: bool,
    pub(super) vp8_profile: u8,
    /// VP8: least and greatest quantizer, whichever of them was set last.
    least_qp: u8,
    greatest_qp: u8,
    /// The next picture is to need no other.
    pub(super) force_key: bool,
    /// Of JPEG files.
    pub(super) quality: u8,
}

impl Controls {
    pub(super) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            bitrate: 2_000_000,
            gop: 30,
            profile: 1,
            level: 11,
            constant: false,
            vp8_profile: 0,
            least_qp: 0,
            greatest_qp: MAX_QP,
            force_key: false,
            quality: 80,
        }
    }

    pub(super) fn profile(&self) -> H264Profile {
        match self.profile {
            2 => H264Profile::Main,
            4 => H264Profile::High,
            _ => H264Profile::ConstrainedBaseline,
        }
    }

    /// VP8: the range of quantizers. A program sets one end after the other, and where they cross
    /// the least is what counts.
    pub(super) fn qp(&self) -> (u8, u8) {
        (self.least_qp, self.greatest_qp.max(self.least_qp))
    }

    /// `level_idc` for pictures of a size, so many in so many seconds: what the program said, or
    /// the lowest above it that allows them.
    pub(super) fn level(&self, (width, height): (u32, u32), (frames, seconds): (u32, u32)) -> u8 {
        let blocks = |pixels: u32| u64::from(pixels.div_ceil(16));
        let (wide, high) = (blocks(width), blocks(height));
        let picture = wide * high;
        let rate = picture * u64::from(frames) / u64::from(seconds.max(1));
        let longest = wide.max(high).pow(2);
        let allows = |limits: &&Limits| {
            limits.picture >= picture
                && limits.picture * 8 >= longest
                && limits.rate >= rate
                && limits.kilobits * 1000 >= u64::from(self.bitrate)
        };
        let level = LIMITS.iter().skip(self.level).find(allows);
        level
            .or(LIMITS.last())
            .map_or(52, |limits| limits.level_idc)
    }

    pub(super) fn specs(&self) -> Vec<ControlSpec> {
        if self.kind == Kind::JpegEncoder {
            let quality = i32::from(self.quality);
            return vec![ControlSpec::integer(
                cid::JPEG_COMPRESSION_QUALITY,
                "Compression Quality",
                (1, 100, 1),
                quality,
            )];
        }
        let mut specs = self.specs_of_streams();
        match self.kind {
            Kind::Vp8Encoder => specs.extend(self.specs_of_vp8()),
            _ => specs.extend(self.specs_of_h264()),
        }
        specs
    }

    /// Of all that give streams.
    fn specs_of_streams(&self) -> Vec<ControlSpec> {
        let int = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let (id, name) = (cid::MIN_BUFFERS_FOR_OUTPUT, "Min Number of Output Buffers");
        let modes = match self.kind {
            Kind::Vp8Encoder => VPX_BITRATE_MODES,
            _ => BITRATE_MODES,
        };
        vec![
            ControlSpec::integer(id, name, (1, 32, 1), int(MIN_BUFFERS))
                .with(ControlFlags::READ_ONLY.union(ControlFlags::VOLATILE)),
            ControlSpec::integer(
                cid::MPEG_VIDEO_GOP_SIZE,
                "Video GOP Size",
                (0, 3600, 1),
                int(self.gop),
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_BITRATE_MODE,
                "Video Bitrate Mode",
                modes,
                self.constant.into(),
            ),
            ControlSpec::integer(
                cid::MPEG_VIDEO_BITRATE,
                "Video Bitrate",
                (16_000, 200_000_000, 1),
                int(self.bitrate),
            ),
            ControlSpec::button(cid::MPEG_VIDEO_FORCE_KEY_FRAME, "Force Key Frame"),
        ]
    }

    fn specs_of_vp8(&self) -> [ControlSpec; 3] {
        let (range, least) = ((0, MAX_QP.into(), 1), self.least_qp.into());
        [
            ControlSpec::integer(
                cid::MPEG_VIDEO_VPX_MIN_QP,
                "VPX Minimum QP Value",
                range,
                least,
            ),
            ControlSpec::integer(
                cid::MPEG_VIDEO_VPX_MAX_QP,
                "VPX Maximum QP Value",
                range,
                self.greatest_qp.into(),
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_VP8_PROFILE,
                "VP8 Profile",
                VP8_PROFILES,
                self.vp8_profile.into(),
            ),
        ]
    }

    fn specs_of_h264(&self) -> [ControlSpec; 3] {
        let index = |value: usize| u32::try_from(value).unwrap_or(0);
        [
            ControlSpec::menu(
                cid::MPEG_VIDEO_HEADER_MODE,
                "Sequence Header Mode",
                HEADER_MODES,
                1,
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_H264_LEVEL,
                "H264 Level",
                LEVELS,
                index(self.level),
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_H264_PROFILE,
                "H264 Profile",
                PROFILES,
                index(self.profile),
            ),
        ]
    }

    /// Takes a value in its range. EBUSY for one that a stream cannot change on its way.
    pub(super) fn set(&mut self, id: u32, value: i64, busy: bool) -> Result<(), DriverError> {
        let unsigned = || u32::try_from(value).map_err(|_| EINVAL);
        let index = || usize::try_from(value).map_err(|_| EINVAL);
        let byte = || u8::try_from(value).map_err(|_| EINVAL);
        match id {
            cid::MPEG_VIDEO_BITRATE => self.bitrate = unsigned()?,
            cid::MPEG_VIDEO_GOP_SIZE => self.gop = unsigned()?,
            cid::MPEG_VIDEO_FORCE_KEY_FRAME => self.force_key = true,
            cid::MPEG_VIDEO_H264_PROFILE
            | cid::MPEG_VIDEO_H264_LEVEL
            | cid::MPEG_VIDEO_VP8_PROFILE
                if busy =>
            {
                return Err(EBUSY);
            }
            cid::MPEG_VIDEO_BITRATE_MODE => self.constant = value == 1,
            cid::MPEG_VIDEO_VPX_MIN_QP => self.least_qp = byte()?,
            cid::MPEG_VIDEO_VPX_MAX_QP => self.greatest_qp = byte()?,
            cid::MPEG_VIDEO_VP8_PROFILE => self.vp8_profile = byte()?,
            cid::MPEG_VIDEO_H264_PROFILE => self.profile = index()?,
            cid::MPEG_VIDEO_H264_LEVEL => self.level = index()?,
            cid::JPEG_COMPRESSION_QUALITY => self.quality = byte()?,
            _ => {}
        }
        Ok(())
    }
}

pub(super) fn volatile(id: u32) -> Option<ControlValue> {
    (id == cid::MIN_BUFFERS_FOR_OUTPUT).then_some(ControlValue::Number(MIN_BUFFERS.into()))
}
