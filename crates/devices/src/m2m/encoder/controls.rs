//! Controls of encoders.

use super::MIN_BUFFERS;
use super::levels::{self, Stream};
use crate::surface::{EBUSY, EINVAL};
use vb3_codec::{H264Profile, Kind};
use vb3_queue::DriverError;
use vb3_v4l2::{ControlFlags, ControlSpec, ControlValue, cid};

/// The library varies the bits of pictures.
const BITRATE_MODES: &[&str] = &["Variable Bitrate"];
/// In the kernel's order; libvpx and x265 have both.
const BOTH_BITRATE_MODES: &[&str] = &["Variable Bitrate", "Constant Bitrate"];
const VP8_PROFILES: &[&str] = &["0", "1", "2", "3"];
/// Largest index of a VP8 quantizer (RFC 6386, section 9.6).
const MAX_QP: u8 = 127;
/// Largest quantizer of 8-bit HEVC (ITU-T H.265, 7.4.9.14).
const MAX_HEVC_QP: u8 = 51;
/// Parameter sets are in the buffer of their picture.
const HEADER_MODES: &[&str] = &["", "Joined With 1st Frame"];
const HEVC_PROFILES: &[&str] = &["Main"];
const HEVC_TIERS: &[&str] = &["Main", "High"];
const PROFILES: &[&str] = &["Baseline", "Constrained Baseline", "Main", "", "High"];
/// Values of an encoder's controls.
#[derive(Debug)]
pub(super) struct Controls {
    kind: Kind,
    /// Bits a second.
    pub(super) bitrate: u32,
    /// Distance of independent pictures.
    pub(super) gop: u32,
    profile: usize,
    level: usize,
    hevc_level: usize,
    is_high_tier: bool,
    /// VP8 and HEVC: whether the bitrate is constant.
    pub(super) constant: bool,
    pub(super) vp8_profile: u8,
    /// VP8 and HEVC: smallest and largest quantizer, in any order of setting.
    least_qp: u8,
    greatest_qp: u8,
    /// Whether the next picture must be independent.
    pub(super) force_key: bool,
    /// Quality of JPEG files.
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
            hevc_level: 5,
            is_high_tier: false,
            constant: false,
            vp8_profile: 0,
            least_qp: 0,
            greatest_qp: max_qp(kind),
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

    /// Returns the range of quantizers. Programs set its ends one after the other. If they cross, the
    /// smallest counts.
    pub(super) fn qp(&self) -> (u8, u8) {
        (self.least_qp, self.greatest_qp.max(self.least_qp))
    }

    /// Describes a stream of pictures of a size and rate (pictures, seconds).
    pub(super) const fn stream(&self, size: (u32, u32), rate: (u32, u32)) -> Stream {
        Stream {
            size,
            rate,
            bitrate: self.bitrate,
        }
    }

    /// Returns `level_idc` of H.264.
    pub(super) fn level(&self, stream: &Stream) -> u8 {
        levels::h264(self.level, stream)
    }

    /// Returns HEVC's level, times 10, and its largest bitrate in the tier, in kbit/s.
    pub(super) fn hevc_level(&self, stream: &Stream) -> (u8, u32) {
        levels::hevc(self.hevc_level, self.is_high_tier, stream)
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
            Kind::HevcEncoder => specs.extend(self.specs_of_hevc()),
            _ => specs.extend(self.specs_of_h264()),
        }
        specs
    }

    /// Returns the controls of all stream encoders.
    fn specs_of_streams(&self) -> Vec<ControlSpec> {
        let int = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let (id, name) = (cid::MIN_BUFFERS_FOR_OUTPUT, "Min Number of Output Buffers");
        let modes = match self.kind {
            Kind::Vp8Encoder | Kind::HevcEncoder => BOTH_BITRATE_MODES,
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

    fn specs_of_hevc(&self) -> [ControlSpec; 6] {
        let index = |value: usize| u32::try_from(value).unwrap_or(0);
        let quantizer = |id, name, value: u8| {
            ControlSpec::integer(id, name, (0, MAX_HEVC_QP.into(), 1), value.into())
        };
        [
            quantizer(
                cid::MPEG_VIDEO_HEVC_MIN_QP,
                "HEVC Minimum QP Value",
                self.least_qp,
            ),
            quantizer(
                cid::MPEG_VIDEO_HEVC_MAX_QP,
                "HEVC Maximum QP Value",
                self.greatest_qp,
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_HEADER_MODE,
                "Sequence Header Mode",
                HEADER_MODES,
                1,
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_HEVC_PROFILE,
                "HEVC Profile",
                HEVC_PROFILES,
                0,
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_HEVC_LEVEL,
                "HEVC Level",
                levels::HEVC,
                index(self.hevc_level),
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_HEVC_TIER,
                "HEVC Tier",
                HEVC_TIERS,
                self.is_high_tier.into(),
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
                levels::H264,
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

    /// Sets a value in its range. EBUSY if a running stream cannot change it.
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
            | cid::MPEG_VIDEO_HEVC_LEVEL
            | cid::MPEG_VIDEO_HEVC_TIER
            | cid::MPEG_VIDEO_VP8_PROFILE
                if busy =>
            {
                return Err(EBUSY);
            }
            cid::MPEG_VIDEO_BITRATE_MODE => self.constant = value == 1,
            cid::MPEG_VIDEO_VPX_MIN_QP | cid::MPEG_VIDEO_HEVC_MIN_QP => self.least_qp = byte()?,
            cid::MPEG_VIDEO_VPX_MAX_QP | cid::MPEG_VIDEO_HEVC_MAX_QP => self.greatest_qp = byte()?,
            cid::MPEG_VIDEO_VP8_PROFILE => self.vp8_profile = byte()?,
            cid::MPEG_VIDEO_H264_PROFILE => self.profile = index()?,
            cid::MPEG_VIDEO_H264_LEVEL => self.level = index()?,
            cid::MPEG_VIDEO_HEVC_LEVEL => self.hevc_level = index()?,
            cid::MPEG_VIDEO_HEVC_TIER => self.is_high_tier = value == 1,
            cid::JPEG_COMPRESSION_QUALITY => self.quality = byte()?,
            _ => {}
        }
        Ok(())
    }
}

const fn max_qp(kind: Kind) -> u8 {
    match kind {
        Kind::HevcEncoder => MAX_HEVC_QP,
        _ => MAX_QP,
    }
}

pub(super) fn volatile(id: u32) -> Option<ControlValue> {
    (id == cid::MIN_BUFFERS_FOR_OUTPUT).then_some(ControlValue::Number(MIN_BUFFERS.into()))
}
