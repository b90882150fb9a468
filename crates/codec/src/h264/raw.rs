//! openh264's C interface, and the only place that calls it.
#![expect(unsafe_code, reason = "calls a C++ library")]

use crate::job::{Colour, H264Profile, H264Settings, Planes};
use openh264_sys2::{
    API as _, DECODER_OPTION_NUM_OF_FRAMES_REMAINING_IN_BUFFER, ISVCDecoder, ISVCDecoderVtbl,
    ISVCEncoder, ISVCEncoderVtbl, SBitrateInfo, SBufferInfo, SDecodingParam, SEncParamExt,
    SFrameBSInfo, SSourcePicture, source::APILoader, videoFormatI420,
};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// Loudness of the library's own messages: none.
const QUIET: c_int = 0;
/// A lost slice is made up from the picture before, also over IDR pictures.
const CONCEAL: c_int = openh264_sys2::ERROR_CON_SLICE_COPY_CROSS_IDR;

/// What a call gave.
pub(super) struct Given<'a> {
    /// Bits of the library's `DECODING_STATE`.
    pub(super) state: c_int,
    pub(super) picture: Option<Decoded<'a>>,
}

/// A picture in the library's memory, good until the next call.
pub(super) struct Decoded<'a> {
    /// Of the unit in which it began.
    pub(super) stamp: u64,
    pub(super) planes: Planes<'a>,
}

/// A decoder of the library.
pub(super) struct RawDecoder(*mut ISVCDecoder);

impl RawDecoder {
    /// `None` if the library has no memory.
    pub(super) fn new() -> Option<Self> {
        let mut decoder = null_mut();
        // SAFETY: `decoder` is where the library writes its pointer.
        let failed = unsafe { APILoader.WelsCreateDecoder(&raw mut decoder) } != 0;
        if failed || decoder.is_null() {
            return None;
        }
        let decoder = Self(decoder);
        let mut params = SDecodingParam {
            eEcActiveIdc: CONCEAL,
            ..SDecodingParam::default()
        };
        params.sVideoProperty.eVideoBsType = openh264_sys2::VIDEO_BITSTREAM_AVC;
        let set_option = decoder.table().SetOption?;
        let initialize = decoder.table().Initialize?;
        let mut quiet = QUIET;
        // SAFETY: the decoder was made above; the option's value is an int, as it must be.
        unsafe {
            let option = openh264_sys2::DECODER_OPTION_TRACE_LEVEL;
            set_option(decoder.0, option, (&raw mut quiet).cast::<c_void>());
        }
        // SAFETY: as above; the parameters are copied by the call.
        let failed = unsafe { initialize(decoder.0, &raw const params) } != 0;
        (!failed).then_some(decoder)
    }

    fn table(&self) -> &ISVCDecoderVtbl {
        // SAFETY: a decoder of the library points to its table of functions, which is static.
        unsafe { &**self.0 }
    }

    /// Decodes what ends with a whole access unit; `stamp` comes back with its picture.
    pub(super) fn decode(&mut self, unit: &[u8], stamp: u64) -> Given<'_> {
        let len = c_int::try_from(unit.len()).unwrap_or(0);
        self.call(unit.as_ptr(), len, stamp)
    }

    /// Says that no more of the access unit comes.
    pub(super) fn end_unit(&mut self, stamp: u64) -> Given<'_> {
        self.call(std::ptr::null(), 0, stamp)
    }

    fn call(&mut self, data: *const u8, len: c_int, stamp: u64) -> Given<'_> {
        let mut planes = [null_mut::<u8>(); 3];
        let mut info = SBufferInfo {
            uiInBsTimeStamp: stamp,
            ..SBufferInfo::default()
        };
        let Some(decode) = self.table().DecodeFrame2 else {
            return Given {
                state: openh264_sys2::dsInvalidArgument,
                picture: None,
            };
        };
        // SAFETY: `data` has `len` bytes, or is null with 0, which means the end; the library
        // writes three pointers and the info.
        let state = unsafe { decode(self.0, data, len, planes.as_mut_ptr(), &raw mut info) };
        Given {
            state,
            picture: self.picture(planes, &info),
        }
    }

    /// Gives one picture of those held back; call `end_unit` first.
    pub(super) fn flush(&mut self) -> Option<Decoded<'_>> {
        let mut planes = [null_mut::<u8>(); 3];
        let mut info = SBufferInfo::default();
        let flush = self.table().FlushFrame?;
        // SAFETY: the library writes three pointers and the info.
        unsafe { flush(self.0, planes.as_mut_ptr(), &raw mut info) };
        self.picture(planes, &info)
    }

    /// How many pictures are held back.
    pub(super) fn held(&self) -> usize {
        let mut held: c_int = 0;
        if let Some(get) = self.table().GetOption {
            let option = DECODER_OPTION_NUM_OF_FRAMES_REMAINING_IN_BUFFER;
            // SAFETY: the option's value is an int.
            unsafe { get(self.0, option, (&raw mut held).cast::<c_void>()) };
        }
        usize::try_from(held).unwrap_or(0)
    }

    fn picture(&self, planes: [*mut u8; 3], info: &SBufferInfo) -> Option<Decoded<'_>> {
        if info.iBufferStatus != 1 || planes.iter().any(|plane| plane.is_null()) {
            return None;
        }
        // SAFETY: of the union's one field.
        let size = unsafe { info.UsrData.sSystemBuffer };
        let width = u32::try_from(size.iWidth).ok()?;
        let height = u32::try_from(size.iHeight).ok()?;
        let luma = usize::try_from(size.iStride[0]).ok()?;
        let chroma = usize::try_from(size.iStride[1]).ok()?;
        let layout = crate::slots::Layout::new(width, height)?;
        let strides = [luma, chroma, chroma];
        let mut data: [&[u8]; 3] = [&[]; 3];
        for (i, plane) in data.iter_mut().enumerate() {
            let (columns, rows) = layout.plane(i);
            let len = strides[i] * (rows - 1) + columns;
            // SAFETY: the library's picture has `rows` rows that lie `stride` apart; it stays
            // until the next call, which needs `&mut self` and thus the end of this borrow.
            *plane = unsafe { core::slice::from_raw_parts(planes[i], len) };
        }
        Some(Decoded {
            stamp: info.uiOutYuvTimeStamp,
            planes: Planes {
                width,
                height,
                data,
                strides,
            },
        })
    }
}

impl Drop for RawDecoder {
    fn drop(&mut self) {
        if let Some(uninitialize) = self.table().Uninitialize {
            // SAFETY: the decoder is the library's own and not used again.
            unsafe { uninitialize(self.0) };
        }
        // SAFETY: as above.
        unsafe { APILoader.WelsDestroyDecoder(self.0) };
    }
}

/// An encoder of the library.
pub(super) struct RawEncoder {
    encoder: *mut ISVCEncoder,
    width: c_int,
    height: c_int,
}

impl RawEncoder {
    /// `None` if the library refuses the settings.
    pub(super) fn new(settings: &H264Settings) -> Option<Self> {
        let mut encoder = null_mut();
        // SAFETY: `encoder` is where the library writes its pointer.
        let failed = unsafe { APILoader.WelsCreateSVCEncoder(&raw mut encoder) } != 0;
        if failed || encoder.is_null() {
            return None;
        }
        let encoder = Self {
            encoder,
            width: c_int::try_from(settings.width).ok()?,
            height: c_int::try_from(settings.height).ok()?,
        };
        let mut params = SEncParamExt::default();
        let get_default = encoder.table().GetDefaultParams?;
        // SAFETY: the encoder was made above and fills the parameters.
        unsafe { get_default(encoder.encoder, &raw mut params) };
        encoder.fill(&mut params, settings);
        let set_option = encoder.table().SetOption?;
        let mut quiet = QUIET;
        // SAFETY: the option's value is an int, as it must be.
        unsafe {
            let option = openh264_sys2::ENCODER_OPTION_TRACE_LEVEL;
            set_option(encoder.encoder, option, (&raw mut quiet).cast::<c_void>());
        }
        let initialize = encoder.table().InitializeExt?;
        // SAFETY: the parameters are copied by the call.
        let failed = unsafe { initialize(encoder.encoder, &raw const params) } != 0;
        (!failed).then_some(encoder)
    }

    fn fill(&self, params: &mut SEncParamExt, settings: &H264Settings) {
        let bitrate = c_int::try_from(settings.bitrate).unwrap_or(c_int::MAX);
        let rate = settings.rate.0 as f32 / settings.rate.1 as f32;
        params.iUsageType = openh264_sys2::CAMERA_VIDEO_REAL_TIME;
        params.iPicWidth = self.width;
        params.iPicHeight = self.height;
        params.iTargetBitrate = bitrate;
        params.iRCMode = openh264_sys2::RC_BITRATE_MODE;
        params.fMaxFrameRate = rate;
        params.bEnableFrameSkip = false;
        params.uiIntraPeriod = settings.gop;
        params.iMultipleThreadIdc = 1;
        params.eSpsPpsIdStrategy = openh264_sys2::CONSTANT_ID;
        params.bEnableSceneChangeDetect = false;
        params.iSpatialLayerNum = 1;
        params.iTemporalLayerNum = 1;
        let baseline = settings.profile == H264Profile::ConstrainedBaseline;
        params.iEntropyCodingModeFlag = c_int::from(!baseline);
        let layer = &mut params.sSpatialLayers[0];
        layer.iVideoWidth = self.width;
        layer.iVideoHeight = self.height;
        layer.fFrameRate = rate;
        layer.iSpatialBitrate = bitrate;
        layer.uiProfileIdc = match settings.profile {
            H264Profile::ConstrainedBaseline => openh264_sys2::PRO_BASELINE,
            H264Profile::Main => openh264_sys2::PRO_MAIN,
            H264Profile::High => openh264_sys2::PRO_HIGH,
        };
        layer.uiLevelIdc = settings
            .level
            .map_or(openh264_sys2::LEVEL_UNKNOWN, i32::from);
        let colour = settings.colour;
        let open = Colour {
            full_range: colour.full_range,
            ..Colour::default()
        };
        layer.bVideoSignalTypePresent = colour != Colour::default();
        layer.uiVideoFormat = openh264_sys2::VF_UNDEF as u8;
        layer.bFullRange = colour.full_range;
        layer.bColorDescriptionPresent = colour != open;
        layer.uiColorPrimaries = colour.primaries;
        layer.uiTransferCharacteristics = colour.transfer;
        layer.uiColorMatrix = colour.matrix;
    }

    fn table(&self) -> &ISVCEncoderVtbl {
        // SAFETY: an encoder of the library points to its table of functions, which is static.
        unsafe { &**self.encoder }
    }

    /// Spends more or less from the next picture on; false if the library refuses that.
    pub(super) fn set_bitrate(&mut self, bits_per_second: u32) -> bool {
        let Some(set_option) = self.table().SetOption else {
            return false;
        };
        let mut bitrate = SBitrateInfo {
            iLayer: openh264_sys2::SPATIAL_LAYER_ALL,
            iBitrate: c_int::try_from(bits_per_second).unwrap_or(c_int::MAX),
        };
        // SAFETY: the option's value is a bitrate's structure, which the call reads.
        let failed = unsafe {
            let option = openh264_sys2::ENCODER_OPTION_BITRATE;
            set_option(self.encoder, option, (&raw mut bitrate).cast::<c_void>())
        };
        failed == 0
    }

    /// Encodes a picture; gives its NAL units and whether it is an IDR picture, or why not.
    /// `ms` is its time in milliseconds.
    pub(super) fn encode(
        &mut self,
        picture: &Planes<'_>,
        force_key: bool,
        ms: i64,
    ) -> Result<(Vec<&[u8]>, bool), String> {
        let layout = crate::slots::Layout::new(picture.width, picture.height);
        let layout = layout.ok_or("the picture has no size")?;
        let whole = (0..3).all(|i| {
            let (columns, rows) = layout.plane(i);
            picture.strides[i] >= columns
                && picture.data[i].len() >= picture.strides[i] * (rows - 1) + columns
        });
        let sized = c_int::try_from(picture.width) == Ok(self.width)
            && c_int::try_from(picture.height) == Ok(self.height);
        if !whole || !sized {
            return Err("the picture has another size than configured".to_owned());
        }
        if force_key && let Some(force) = self.table().ForceIntraFrame {
            // SAFETY: the encoder is the library's own.
            unsafe { force(self.encoder, true) };
        }
        let stride = |i: usize| c_int::try_from(picture.strides[i]).unwrap_or(0);
        let plane = |i: usize| picture.data[i].as_ptr().cast_mut();
        let source = SSourcePicture {
            iColorFormat: videoFormatI420,
            iStride: [stride(0), stride(1), stride(2), 0],
            pData: [plane(0), plane(1), plane(2), null_mut()],
            iPicWidth: self.width,
            iPicHeight: self.height,
            uiTimeStamp: ms,
            ..SSourcePicture::default()
        };
        let mut info = SFrameBSInfo::default();
        let encode = self.table().EncodeFrame.ok_or("the library is broken")?;
        // SAFETY: the planes are as long as size and strides say, which was checked, and are only
        // read; the library fills the info.
        let failed = unsafe { encode(self.encoder, &raw const source, &raw mut info) };
        if failed != 0 {
            return Err(format!(
                "openh264 cannot encode the picture: error {failed}"
            ));
        }
        let mut parts = Vec::new();
        let layers = usize::try_from(info.iLayerNum).unwrap_or(0);
        for layer in info.sLayerInfo.iter().take(layers) {
            let nals = usize::try_from(layer.iNalCount).unwrap_or(0);
            if nals == 0 || layer.pNalLengthInByte.is_null() || layer.pBsBuf.is_null() {
                continue;
            }
            // SAFETY: the library gives as many lengths as NAL units.
            let lens = unsafe { core::slice::from_raw_parts(layer.pNalLengthInByte, nals) };
            let len = lens
                .iter()
                .map(|len| usize::try_from(*len).unwrap_or(0))
                .sum();
            // SAFETY: the NAL units of a layer lie one behind the other; they stay until the next
            // call, which needs `&mut self` and thus the end of this borrow.
            parts.push(unsafe { core::slice::from_raw_parts(layer.pBsBuf.cast_const(), len) });
        }
        if parts.is_empty() {
            return Err("openh264 left the picture out".to_owned());
        }
        Ok((parts, info.eFrameType == openh264_sys2::videoFrameTypeIDR))
    }
}

impl Drop for RawEncoder {
    fn drop(&mut self) {
        if let Some(uninitialize) = self.table().Uninitialize {
            // SAFETY: the encoder is the library's own and not used again.
            unsafe { uninitialize(self.encoder) };
        }
        // SAFETY: as above.
        unsafe { APILoader.WelsDestroySVCEncoder(self.encoder) };
    }
}
