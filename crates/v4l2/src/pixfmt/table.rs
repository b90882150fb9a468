//! The pixel formats, one row each.

use super::Sample::{B, G, R, U, V, X, Y};
use super::{Component, FourCc, PixelFormat, Sample};

/// A plane of samples; each cell covers `across` x `down` pixels.
const fn plane(across: u32, down: u32, cell: &'static [&'static [Sample]]) -> Component {
    Component { cell, across, down }
}

/// Defines for each row a `static`, a name in [`FourCc`], and an entry of a table. A row's twin has the
/// same planes in separate memory planes.
macro_rules! formats {
    (
        $(#[$table_doc:meta])*
        $table:ident, $twins:ident, $names:ident;
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
                        "), each plane in memory of its own.")]
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
                components: $components,
            };
            $(
                #[doc = concat!("As [`", stringify!($name),
                    "`], each plane in memory of its own.")]
                pub static $twin: PixelFormat = PixelFormat {
                    name: stringify!($twin),
                    fourcc: FourCc::$twin,
                    description: $twin_description,
                    ffmpeg: $ffmpeg,
                    bits: $bits,
                    memory_planes: $name.components.len(),
                    components: $components,
                };
            )?
        )*

        $(#[$table_doc])*
        pub static $table: &[&PixelFormat] = &[$(&$name, $(&$twin,)?)*];

        /// Formats of several memory planes, each with its single-plane counterpart.
        pub(super) static $twins: &[(FourCc, &PixelFormat)] = &[$($((FourCc::$twin, &$name),)?)*];

        /// The names of the table's formats, for a help text.
        pub const $names: &str =
            concat!($(", ", stringify!($name) $(, ", ", stringify!($twin))?),*).split_at(2).1;
    };
}

// Descriptions are the kernel's (`v4l_fill_fmtdesc`); v4l2-compliance compares them.
formats! {
    /// All formats of ordinary devices, in the order in which they offer them.
    TABLE, TWINS, NAMES;
    /// Packed Y'CbCr 4:2:2: Y0 U Y1 V.
    YUYV b"YUYV" "YUYV 4:2:2", ffmpeg Some("yuyv422"), bits 8,
        &[plane(2, 1, &[&[Y, U, Y, V]])];
    /// Motion JPEG: each picture is a complete JPEG.
    MJPEG b"MJPG" "Motion-JPEG", ffmpeg None, bits 8, &[];
    /// A plane of Y, then one of UV pairs for 2x2 pixels.
    // The description of kernels before 6.2, which every v4l2-compliance accepts.
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
    /// NV12 with 10 bits a sample, in the upper bits of 16.
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
    /// VP8 frames.
    VP8 b"VP80" "VP8", ffmpeg None, bits 8, &[];
    /// VP9 frames or superframes.
    VP9 b"VP90" "VP9", ffmpeg None, bits 8, &[];
    /// AV1 temporal units.
    AV1 b"AV01" "AV1", ffmpeg None, bits 8, &[];
    /// MPEG-1 or MPEG-2 video stream with start codes.
    MPEG2 b"MPG2" "MPEG-2 ES", ffmpeg None, bits 8, &[];
    /// MPEG-4 part 2 stream with start codes.
    MPEG4 b"MPG4" "MPEG-4 Part 2 ES", ffmpeg None, bits 8, &[];
    /// One JPEG picture.
    JPEG b"JPEG" "JFIF JPEG", ffmpeg None, bits 8, &[];
}

formats! {
    /// Further formats of devices whose media graph the program sets up.
    GRAPH_TABLE, GRAPH_TWINS, GRAPH_NAMES;
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
    /// Bayer mosaic BGBG/GRGR, 10 bits: four upper bytes, then their lower bits.
    SBGGR10P b"pBAA" "10-bit Bayer BGBG/GRGR Packed", ffmpeg None, bits 8,
        &[plane(4, 2, &[&[B, G, B, G, X], &[G, R, G, R, X]])];
    /// Bayer mosaic GBGB/RGRG, 10 bits: four upper bytes, then their lower bits.
    SGBRG10P b"pGAA" "10-bit Bayer GBGB/RGRG Packed", ffmpeg None, bits 8,
        &[plane(4, 2, &[&[G, B, G, B, X], &[R, G, R, G, X]])];
    /// Bayer mosaic GRGR/BGBG, 10 bits: four upper bytes, then their lower bits.
    SGRBG10P b"pgAA" "10-bit Bayer GRGR/BGBG Packed", ffmpeg None, bits 8,
        &[plane(4, 2, &[&[G, R, G, R, X], &[B, G, B, G, X]])];
    /// Bayer mosaic RGRG/GBGB, 10 bits: four upper bytes, then their lower bits.
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
