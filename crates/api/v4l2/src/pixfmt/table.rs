//! The pixel formats, one row each.

use super::Sample::{B, G, R, U, V, X, Y};
use super::{Component, FourCc, PixelFormat, Sample};

/// A plane of samples; each cell covers `across` x `down` pixels.
const fn plane(across: u32, down: u32, cell: &'static [&'static [Sample]]) -> Component {
    Component { cell, across, down }
}

/// Defines for each row a `static`, a name in [`FourCc`], and an entry of a table.
/// A row's twin has the same planes of samples, each in its own memory plane.
macro_rules! formats {
    (
        $(#[$table_doc:meta])*
        $table:ident, $names:ident;
        $(
        $(#[$doc:meta])*
        $name:ident $code:literal $description:literal, ffmpeg $ffmpeg:expr, bits $bits:literal,
        $components:expr
        $(, twin $twin:ident $twin_code:literal $twin_description:literal)?;
    )*) => {
        impl FourCc {
            $(
                $(#[$doc])*
                pub const $name: Self = Self::new(*$code);
                $(
                    #[doc = concat!("As [`", stringify!($name), "`](Self::", stringify!($name),
                        "), but each plane of samples has its own memory plane.")]
                    pub const $twin: Self = Self::new(*$twin_code);
                )?
            )*
        }
        $(
            $(#[$doc])*
            pub static $name: PixelFormat = PixelFormat {
                name: stringify!($name),
                fourcc: FourCc::$name,
                description: $description,
                ffmpeg: $ffmpeg,
                bits: $bits,
                memory_planes: 1,
                single: None,
                components: $components,
            };
            $(
                #[doc = concat!("As [`", stringify!($name),
                    "`], but each plane of samples has its own memory plane.")]
                pub static $twin: PixelFormat = PixelFormat {
                    name: stringify!($twin),
                    fourcc: FourCc::$twin,
                    description: $twin_description,
                    ffmpeg: $ffmpeg,
                    bits: $bits,
                    memory_planes: $name.components.len(),
                    single: Some(&$name),
                    components: $components,
                };
            )?
        )*

        $(#[$table_doc])*
        pub static $table: &[&PixelFormat] = &[$(&$name, $(&$twin,)?)*];

        /// The names of the table's formats, for a help text.
        pub const $names: &str =
            concat!($(", ", stringify!($name) $(, ", ", stringify!($twin))?),*).split_at(2).1;
    };
}

// The descriptions are those of the kernel (`v4l_fill_fmtdesc`); v4l2-compliance compares them.
formats! {
    /// All formats of ordinary devices, in the order of enumeration.
    TABLE, NAMES;
    /// Packed Y'CbCr 4:2:2: Y0 U Y1 V.
    YUYV b"YUYV" "YUYV 4:2:2", ffmpeg Some("yuyv422"), bits 8,
        &[plane(2, 1, &[&[Y, U, Y, V]])];
    /// Motion JPEG: each picture is a complete JPEG.
    MJPEG b"MJPG" "Motion-JPEG", ffmpeg None, bits 8, &[];
    /// A plane of Y, then one of UV pairs for 2x2 pixels.
    // This is the description of kernels before 6.2, which every v4l2-compliance accepts.
    NV12 b"NV12" "Y/CbCr 4:2:0", ffmpeg Some("nv12"), bits 8,
        &[plane(1, 1, &[&[Y]]), plane(2, 2, &[&[U, V]])],
        twin NV12M b"NM12" "Y/CbCr 4:2:0 (N-C)";
    /// 24-bit R, G, B.
    RGB24 b"RGB3" "24-bit RGB 8-8-8", ffmpeg Some("rgb24"), bits 8,
        &[plane(1, 1, &[&[R, G, B]])];
    /// Planes of Y, of U and of V, the latter two for 2x2 pixels (I420).
    YUV420 b"YU12" "Planar YUV 4:2:0", ffmpeg Some("yuv420p"), bits 8,
        &[plane(1, 1, &[&[Y]]), plane(2, 2, &[&[U]]), plane(2, 2, &[&[V]])];
    /// Packed Y'CbCr 4:2:2: U Y0 V Y1.
    UYVY b"UYVY" "UYVY 4:2:2", ffmpeg Some("uyvy422"), bits 8,
        &[plane(2, 1, &[&[U, Y, V, Y]])];
    /// A plane of Y, then one of VU pairs for 2x2 pixels.
    NV21 b"NV21" "Y/CrCb 4:2:0", ffmpeg Some("nv21"), bits 8,
        &[plane(1, 1, &[&[Y]]), plane(2, 2, &[&[V, U]])];
    /// A plane of Y, then one of UV pairs for 2x1 pixels.
    NV16 b"NV16" "Y/CbCr 4:2:2", ffmpeg None, bits 8,
        &[plane(1, 1, &[&[Y]]), plane(2, 1, &[&[U, V]])];
    /// As NV12, with samples of 10 bits in the upper bits of 16.
    P010 b"P010" "10-bit Y/UV 4:2:0", ffmpeg Some("p010le"), bits 10,
        &[plane(1, 1, &[&[Y]]), plane(2, 2, &[&[U, V]])];
    /// Y alone.
    GREY b"GREY" "8-bit Greyscale", ffmpeg None, bits 8, &[plane(1, 1, &[&[Y]])];
    /// B, G, R and a padding byte.
    XBGR32 b"XR24" "32-bit BGRX 8-8-8-8", ffmpeg Some("bgr0"), bits 8,
        &[plane(1, 1, &[&[B, G, R, X]])];
    /// A padding byte, R, G, B.
    XRGB32 b"BX24" "32-bit XRGB 8-8-8-8", ffmpeg Some("0rgb"), bits 8,
        &[plane(1, 1, &[&[X, R, G, B]])];
    /// Bayer mosaic: lines of B and G, then of G and R.
    SBGGR8 b"BA81" "8-bit Bayer BGBG/GRGR", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[B, G], &[G, R]])];
    /// Bayer mosaic: lines of R and G, then of G and B.
    SRGGB8 b"RGGB" "8-bit Bayer RGRG/GBGB", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[R, G], &[G, B]])];
    /// H.264 byte stream with start codes.
    H264 b"H264" "H.264", ffmpeg None, bits 8, &[];
    /// H.264 slices of a picture. Parameter sets are passed by controls.
    H264_SLICE b"S264" "H.264 Parsed Slice Data", ffmpeg None, bits 8, &[];
    /// HEVC byte stream with start codes.
    HEVC b"HEVC" "HEVC", ffmpeg None, bits 8, &[];
    /// HEVC slices of a picture. Parameter sets are passed by controls.
    HEVC_SLICE b"S265" "HEVC Parsed Slice Data", ffmpeg None, bits 8, &[];
    /// VP8 frames.
    VP8 b"VP80" "VP8", ffmpeg None, bits 8, &[];
    /// VP8 frames whose headers are passed by controls, too.
    VP8_FRAME b"VP8F" "VP8 Frame", ffmpeg None, bits 8, &[];
    /// VP9 frames or superframes.
    VP9 b"VP90" "VP9", ffmpeg None, bits 8, &[];
    /// VP9 frames whose headers are passed by controls, too.
    VP9_FRAME b"VP9F" "VP9 Frame", ffmpeg None, bits 8, &[];
    /// AV1 temporal units.
    AV1 b"AV01" "AV1", ffmpeg None, bits 8, &[];
    /// An AV1 frame, for decoders that get its headers by controls.
    AV1_FRAME b"AV1F" "AV1 Frame", ffmpeg None, bits 8, &[];
    /// MPEG-1 or MPEG-2 video stream with start codes.
    MPEG2 b"MPG2" "MPEG-2 ES", ffmpeg None, bits 8, &[];
    /// MPEG-4 part 2 stream with start codes.
    MPEG4 b"MPG4" "MPEG-4 Part 2 ES", ffmpeg None, bits 8, &[];
    /// One JPEG picture.
    JPEG b"JPEG" "JFIF JPEG", ffmpeg None, bits 8, &[];
}

formats! {
    /// Further formats of devices whose media graph the program sets up.
    GRAPH_TABLE, GRAPH_NAMES;
    /// 24-bit B, G, R.
    BGR24 b"BGR3" "24-bit BGR 8-8-8", ffmpeg Some("bgr24"), bits 8,
        &[plane(1, 1, &[&[B, G, R]])];
    /// Alpha, R, G, B.
    ARGB32 b"BA24" "32-bit ARGB 8-8-8-8", ffmpeg Some("argb"), bits 8,
        &[plane(1, 1, &[&[X, R, G, B]])];
    /// Bayer mosaic GBGB/RGRG, 8 bits.
    SGBRG8 b"GBRG" "8-bit Bayer GBGB/RGRG", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[G, B], &[R, G]])];
    /// Bayer mosaic GRGR/BGBG, 8 bits.
    SGRBG8 b"GRBG" "8-bit Bayer GRGR/BGBG", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[G, R], &[B, G]])];
    /// Bayer mosaic BGBG/GRGR, 10 bits in the lower bits of 16.
    SBGGR10 b"BG10" "10-bit Bayer BGBG/GRGR", ffmpeg None, bits 10,
        &[plane(2, 2, &[&[B, G], &[G, R]])];
    /// Bayer mosaic GBGB/RGRG, 10 bits in the lower bits of 16.
    SGBRG10 b"GB10" "10-bit Bayer GBGB/RGRG", ffmpeg None, bits 10,
        &[plane(2, 2, &[&[G, B], &[R, G]])];
    /// Bayer mosaic GRGR/BGBG, 10 bits in the lower bits of 16.
    SGRBG10 b"BA10" "10-bit Bayer GRGR/BGBG", ffmpeg None, bits 10,
        &[plane(2, 2, &[&[G, R], &[B, G]])];
    /// Bayer mosaic RGRG/GBGB, 10 bits in the lower bits of 16.
    SRGGB10 b"RG10" "10-bit Bayer RGRG/GBGB", ffmpeg None, bits 10,
        &[plane(2, 2, &[&[R, G], &[G, B]])];
    /// Bayer mosaic BGBG/GRGR, 10 bits: the upper bytes of four samples, then their lower bits.
    SBGGR10P b"pBAA" "10-bit Bayer BGBG/GRGR Packed", ffmpeg None, bits 8,
        &[plane(4, 2, &[&[B, G, B, G, X], &[G, R, G, R, X]])];
    /// Bayer mosaic GBGB/RGRG, 10 bits: the upper bytes of four samples, then their lower bits.
    SGBRG10P b"pGAA" "10-bit Bayer GBGB/RGRG Packed", ffmpeg None, bits 8,
        &[plane(4, 2, &[&[G, B, G, B, X], &[R, G, R, G, X]])];
    /// Bayer mosaic GRGR/BGBG, 10 bits: the upper bytes of four samples, then their lower bits.
    SGRBG10P b"pgAA" "10-bit Bayer GRGR/BGBG Packed", ffmpeg None, bits 8,
        &[plane(4, 2, &[&[G, R, G, R, X], &[B, G, B, G, X]])];
    /// Bayer mosaic RGRG/GBGB, 10 bits: the upper bytes of four samples, then their lower bits.
    SRGGB10P b"pRAA" "10-bit Bayer RGRG/GBGB Packed", ffmpeg None, bits 8,
        &[plane(4, 2, &[&[R, G, R, G, X], &[G, B, G, B, X]])];
    /// Bayer mosaic BGBG/GRGR, 10 bits, A-law compressed to 8.
    SBGGR10ALAW8 b"aBA8" "8-bit Bayer BGBG/GRGR (A-law)", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[B, G], &[G, R]])];
    /// Bayer mosaic GBGB/RGRG, 10 bits, A-law compressed to 8.
    SGBRG10ALAW8 b"aGA8" "8-bit Bayer GBGB/RGRG (A-law)", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[G, B], &[R, G]])];
    /// Bayer mosaic GRGR/BGBG, 10 bits, A-law compressed to 8.
    SGRBG10ALAW8 b"agA8" "8-bit Bayer GRGR/BGBG (A-law)", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[G, R], &[B, G]])];
    /// Bayer mosaic RGRG/GBGB, 10 bits, A-law compressed to 8.
    SRGGB10ALAW8 b"aRA8" "8-bit Bayer RGRG/GBGB (A-law)", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[R, G], &[G, B]])];
    /// Bayer mosaic BGBG/GRGR, 10 bits, DPCM compressed to 8.
    SBGGR10DPCM8 b"bBA8" "8-bit Bayer BGBG/GRGR (DPCM)", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[B, G], &[G, R]])];
    /// Bayer mosaic GBGB/RGRG, 10 bits, DPCM compressed to 8.
    SGBRG10DPCM8 b"bGA8" "8-bit Bayer GBGB/RGRG (DPCM)", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[G, B], &[R, G]])];
    /// Bayer mosaic GRGR/BGBG, 10 bits, DPCM compressed to 8.
    SGRBG10DPCM8 b"BD10" "8-bit Bayer GRGR/BGBG (DPCM)", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[G, R], &[B, G]])];
    /// Bayer mosaic RGRG/GBGB, 10 bits, DPCM compressed to 8.
    SRGGB10DPCM8 b"bRA8" "8-bit Bayer RGRG/GBGB (DPCM)", ffmpeg None, bits 8,
        &[plane(2, 2, &[&[R, G], &[G, B]])];
    /// Bayer mosaic BGBG/GRGR, 12 bits in the lower bits of 16.
    SBGGR12 b"BG12" "12-bit Bayer BGBG/GRGR", ffmpeg None, bits 12,
        &[plane(2, 2, &[&[B, G], &[G, R]])];
    /// Bayer mosaic GBGB/RGRG, 12 bits in the lower bits of 16.
    SGBRG12 b"GB12" "12-bit Bayer GBGB/RGRG", ffmpeg None, bits 12,
        &[plane(2, 2, &[&[G, B], &[R, G]])];
    /// Bayer mosaic GRGR/BGBG, 12 bits in the lower bits of 16.
    SGRBG12 b"BA12" "12-bit Bayer GRGR/BGBG", ffmpeg None, bits 12,
        &[plane(2, 2, &[&[G, R], &[B, G]])];
    /// Bayer mosaic RGRG/GBGB, 12 bits in the lower bits of 16.
    SRGGB12 b"RG12" "12-bit Bayer RGRG/GBGB", ffmpeg None, bits 12,
        &[plane(2, 2, &[&[R, G], &[G, B]])];
}

/// Pixels of one, two and four bytes that only programs interpret, such as 5-6-5 bits of R'G'B'.
const ONE: &[Component] = &[plane(1, 1, &[&[X]])];
const TWO: &[Component] = &[plane(1, 1, &[&[X, X]])];
const FOUR: &[Component] = &[plane(1, 1, &[&[X, X, X, X]])];

// Those formats of v4l2loopback that the tables above lack. Linux's documentation gives the bytes of a pixel.
formats! {
    /// Further formats of loopbacks, which only copy bytes.
    LOOPBACK_TABLE, LOOPBACK_NAMES;
    /// B, G, R and a byte of alpha or padding.
    BGR32 b"BGR4" "32-bit BGRA/X 8-8-8-8", ffmpeg Some("bgr0"), bits 8,
        &[plane(1, 1, &[&[B, G, R, X]])];
    /// A byte of alpha or padding, R, G, B.
    RGB32 b"RGB4" "32-bit A/XRGB 8-8-8-8", ffmpeg Some("0rgb"), bits 8,
        &[plane(1, 1, &[&[X, R, G, B]])];
    /// B, G, R, alpha.
    ABGR32 b"AR24" "32-bit BGRA 8-8-8-8", ffmpeg Some("bgra"), bits 8,
        &[plane(1, 1, &[&[B, G, R, X]])];
    /// R, G, B, alpha.
    RGBA32 b"AB24" "32-bit RGBA 8-8-8-8", ffmpeg Some("rgba"), bits 8,
        &[plane(1, 1, &[&[R, G, B, X]])];
    /// 3 bits of R, 3 of G, 2 of B.
    RGB332 b"RGB1" "8-bit RGB 3-3-2", ffmpeg Some("rgb8"), bits 8, ONE;
    /// 4 bits each of padding, R, G, B; little endian.
    RGB444 b"R444" "16-bit A/XRGB 4-4-4-4", ffmpeg Some("rgb444le"), bits 8, TWO;
    /// 5 bits each of R, G, B; little endian.
    RGB555 b"RGBO" "16-bit A/XRGB 1-5-5-5", ffmpeg Some("rgb555le"), bits 8, TWO;
    /// 5 bits of R, 6 of G, 5 of B; little endian.
    RGB565 b"RGBP" "16-bit RGB 5-6-5", ffmpeg Some("rgb565le"), bits 8, TWO;
    /// 5 bits each of R, G, B; big endian.
    RGB555X b"RGBQ" "16-bit A/XRGB 1-5-5-5 BE", ffmpeg Some("rgb555be"), bits 8, TWO;
    /// 5 bits of R, 6 of G, 5 of B; big endian.
    RGB565X b"RGBR" "16-bit RGB 5-6-5 BE", ffmpeg Some("rgb565be"), bits 8, TWO;
    /// 6 bits each of B, G, R, then padding.
    BGR666 b"BGRH" "18-bit BGRX 6-6-6-14", ffmpeg None, bits 8, FOUR;
    /// Packed Y'CbCr 4:2:2: Y0 V Y1 U.
    YVYU b"YVYU" "YVYU 4:2:2", ffmpeg Some("yvyu422"), bits 8,
        &[plane(2, 1, &[&[Y, V, Y, U]])];
    /// Packed Y'CbCr 4:2:2: V Y0 U Y1.
    VYUY b"VYUY" "VYUY 4:2:2", ffmpeg None, bits 8, &[plane(2, 1, &[&[V, Y, U, Y]])];
    /// Packed Y'CbCr 4:2:2: Y0 Y1 U V.
    YYUV b"YYUV" "YYUV 4:2:2", ffmpeg None, bits 8, &[plane(2, 1, &[&[Y, Y, U, V]])];
    /// Alpha or padding, Y, U, V.
    YUV32 b"YUV4" "32-bit A/XYUV 8-8-8-8", ffmpeg None, bits 8,
        &[plane(1, 1, &[&[X, Y, U, V]])];
    /// Y in the lower 4 bits of a byte.
    Y4 b"Y04 " "4-bit Greyscale", ffmpeg None, bits 8, ONE;
    /// Y in the lower 6 bits of a byte.
    Y6 b"Y06 " "6-bit Greyscale", ffmpeg None, bits 8, ONE;
    /// Y in the lower 10 bits of 16.
    Y10 b"Y10 " "10-bit Greyscale", ffmpeg Some("gray10le"), bits 8, TWO;
    /// Y in the lower 12 bits of 16.
    Y12 b"Y12 " "12-bit Greyscale", ffmpeg Some("gray12le"), bits 8, TWO;
    /// Y in 16 bits.
    Y16 b"Y16 " "16-bit Greyscale", ffmpeg Some("gray16le"), bits 8, TWO;
    /// 4 bits each of padding, Y, U, V.
    YUV444 b"Y444" "16-bit A/XYUV 4-4-4-4", ffmpeg None, bits 8, TWO;
    /// 5 bits each of Y, U, V.
    YUV555 b"YUVO" "16-bit A/XYUV 1-5-5-5", ffmpeg None, bits 8, TWO;
    /// 5 bits of Y, 6 of U, 5 of V.
    YUV565 b"YUVP" "16-bit YUV 5-6-5", ffmpeg None, bits 8, TWO;
    /// Planes of Y, of V and of U, the latter two for 4x4 pixels.
    YVU410 b"YVU9" "Planar YVU 4:1:0", ffmpeg None, bits 8,
        &[plane(1, 1, &[&[Y]]), plane(4, 4, &[&[V]]), plane(4, 4, &[&[U]])];
    /// Planes of Y, of V and of U, the latter two for 2x2 pixels.
    YVU420 b"YV12" "Planar YVU 4:2:0", ffmpeg None, bits 8,
        &[plane(1, 1, &[&[Y]]), plane(2, 2, &[&[V]]), plane(2, 2, &[&[U]])];
    /// Planes of Y, of U and of V, the latter two for 4x4 pixels.
    YUV410 b"YUV9" "Planar YUV 4:1:0", ffmpeg Some("yuv410p"), bits 8,
        &[plane(1, 1, &[&[Y]]), plane(4, 4, &[&[U]]), plane(4, 4, &[&[V]])];
    /// Planes of Y, of U and of V, the latter two for 2x1 pixels.
    YUV422P b"422P" "Planar YUV 4:2:2", ffmpeg Some("yuv422p"), bits 8,
        &[plane(1, 1, &[&[Y]]), plane(2, 1, &[&[U]]), plane(2, 1, &[&[V]])];
    /// Planes of Y, of U and of V, the latter two for 4x1 pixels.
    YUV411P b"411P" "Planar YUV 4:1:1", ffmpeg Some("yuv411p"), bits 8,
        &[plane(1, 1, &[&[Y]]), plane(4, 1, &[&[U]]), plane(4, 1, &[&[V]])];
    /// Packed Y'CbCr 4:1:1: 12 bytes for 8 pixels.
    Y41P b"Y41P" "YUV 4:1:1 (Packed)", ffmpeg None, bits 8,
        &[plane(8, 1, &[&[U, Y, V, Y, U, Y, V, Y, Y, Y, Y, Y]])];
    /// DV video.
    DV b"dvsd" "1394", ffmpeg None, bits 8, &[];
    /// MPEG-1, -2 or -4 multiplexed with other streams.
    MPEG b"MPEG" "MPEG-1/2/4", ffmpeg None, bits 8, &[];
    /// H.264 without start codes.
    H264_NO_SC b"AVC1" "H.264 (No Start Codes)", ffmpeg None, bits 8, &[];
    /// H.264 with several views.
    H264_MVC b"M264" "H.264 MVC", ffmpeg None, bits 8, &[];
    /// H.263 video.
    H263 b"H263" "H.263", ffmpeg None, bits 8, &[];
    /// MPEG-1 video stream.
    MPEG1 b"MPG1" "MPEG-1 ES", ffmpeg None, bits 8, &[];
    /// Xvid video.
    XVID b"XVID" "Xvid", ffmpeg None, bits 8, &[];
    /// VC-1, SMPTE 421M annex G.
    VC1_ANNEX_G b"VC1G" "VC-1 (SMPTE 412M Annex G)", ffmpeg None, bits 8, &[];
    /// VC-1, SMPTE 421M annex L.
    VC1_ANNEX_L b"VC1L" "VC-1 (SMPTE 412M Annex L)", ffmpeg None, bits 8, &[];
}
