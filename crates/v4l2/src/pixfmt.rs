//! Pixel formats: names, planes and how many bytes a picture takes.

use crate::PlaneLayout;
use core::fmt;

/// A pixel format's four-character code (`V4L2_PIX_FMT_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub u32);

impl FourCc {
    /// Packed YUV 4:2:2, `V4L2_PIX_FMT_YUYV`.
    pub const YUYV: Self = Self::new(*b"YUYV");
    /// Y plane, then interleaved UV at half resolution, in one memory plane.
    pub const NV12: Self = Self::new(*b"NV12");
    /// 24-bit R, G, B.
    pub const RGB24: Self = Self::new(*b"RGB3");
    /// NV12 in two memory planes.
    pub const NV12M: Self = Self::new(*b"NM12");
    /// Y plane, then U and V at half resolution, in one memory plane.
    pub const YUV420: Self = Self::new(*b"YU12");
    /// H.264 byte stream with start codes.
    pub const H264: Self = Self::new(*b"H264");
    /// One JPEG picture.
    pub const JPEG: Self = Self::new(*b"JPEG");

    /// Packs four characters.
    #[must_use]
    pub const fn new(code: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(code))
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_le_bytes().iter().try_for_each(|&byte| {
            let c = if byte.is_ascii_graphic() {
                char::from(byte)
            } else {
                '?'
            };
            write!(f, "{c}")
        })
    }
}

/// Fewest bytes of a buffer for a compressed picture.
pub const MIN_COMPRESSED_BYTES: u32 = 64 << 10;
/// Most bytes of a buffer for a compressed picture.
pub const MAX_COMPRESSED_BYTES: u32 = 32 << 20;

/// Whether a format holds luma and chroma or primaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorModel {
    /// Luma and chroma.
    Yuv,
    /// Red, green, blue.
    Rgb,
}

/// One plane of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// Bytes of one line per `horizontal_step` pixels of the picture's width.
    pub bytes_per_pixel: u32,
    /// Columns of the picture for one column of this plane.
    pub horizontal_step: u32,
    /// Lines of the picture for one line of this plane.
    pub vertical_step: u32,
}

/// What there is to know of a pixel format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFormat {
    /// Its code.
    pub fourcc: FourCc,
    /// What ENUM_FMT says.
    pub description: &'static str,
    /// Luma and chroma, or primaries.
    pub model: ColorModel,
    /// Planes of memory: 1, or one per component.
    pub memory_planes: usize,
    /// Planes of samples, in memory order; none of a compressed format.
    pub components: &'static [Component],
    /// Width and height are multiples of these.
    pub align: (u32, u32),
}

const NV12_COMPONENTS: &[Component] = &[
    Component {
        bytes_per_pixel: 1,
        horizontal_step: 1,
        vertical_step: 1,
    },
    Component {
        bytes_per_pixel: 1,
        horizontal_step: 1,
        vertical_step: 2,
    },
];

const CHROMA_QUARTER: Component = Component {
    bytes_per_pixel: 1,
    horizontal_step: 2,
    vertical_step: 2,
};

/// A stream of bytes that a codec makes or takes.
const fn compressed(fourcc: FourCc, description: &'static str) -> PixelFormat {
    PixelFormat {
        fourcc,
        description,
        model: ColorModel::Yuv,
        memory_planes: 1,
        components: &[],
        align: (2, 2),
    }
}

/// All formats known here.
pub static TABLE: &[PixelFormat] = &[
    PixelFormat {
        fourcc: FourCc::YUYV,
        description: "YUYV 4:2:2",
        model: ColorModel::Yuv,
        memory_planes: 1,
        components: &[Component {
            bytes_per_pixel: 2,
            horizontal_step: 1,
            vertical_step: 1,
        }],
        align: (2, 1),
    },
    PixelFormat {
        fourcc: FourCc::NV12,
        // The words kernels used before 6.2: every v4l2-compliance accepts these.
        description: "Y/CbCr 4:2:0",
        model: ColorModel::Yuv,
        memory_planes: 1,
        components: NV12_COMPONENTS,
        align: (2, 2),
    },
    PixelFormat {
        fourcc: FourCc::RGB24,
        description: "24-bit RGB 8-8-8",
        model: ColorModel::Rgb,
        memory_planes: 1,
        components: &[Component {
            bytes_per_pixel: 3,
            horizontal_step: 1,
            vertical_step: 1,
        }],
        align: (1, 1),
    },
    PixelFormat {
        fourcc: FourCc::NV12M,
        description: "Y/CbCr 4:2:0 (N-C)",
        model: ColorModel::Yuv,
        memory_planes: 2,
        components: NV12_COMPONENTS,
        align: (2, 2),
    },
    PixelFormat {
        fourcc: FourCc::YUV420,
        description: "Planar YUV 4:2:0",
        model: ColorModel::Yuv,
        memory_planes: 1,
        components: &[
            Component {
                bytes_per_pixel: 1,
                horizontal_step: 1,
                vertical_step: 1,
            },
            CHROMA_QUARTER,
            CHROMA_QUARTER,
        ],
        align: (2, 2),
    },
    compressed(FourCc::H264, "H.264"),
    compressed(FourCc::JPEG, "JFIF JPEG"),
];

/// Finds a format by its code.
#[must_use]
pub fn lookup(fourcc: FourCc) -> Option<&'static PixelFormat> {
    TABLE.iter().find(|format| format.fourcc == fourcc)
}

/// Where one plane of samples lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentLayout {
    /// Index of the memory plane.
    pub memory_plane: usize,
    /// Bytes from the start of that memory plane.
    pub offset: u64,
    /// Bytes from one line to the next.
    pub bytesperline: u32,
    /// Lines.
    pub lines: u32,
    /// Bytes of a line that carry samples.
    pub line_bytes: u32,
}

impl PixelFormat {
    /// Whether it is a codec's, with no lines of samples.
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        self.components.is_empty()
    }

    /// Bytes of a line of component `index` without padding; `None` on overflow.
    #[must_use]
    pub fn line_bytes(&self, index: usize, width: u32) -> Option<u32> {
        let component = self.components.get(index)?;
        let columns = width.div_ceil(component.horizontal_step.max(1));
        columns.checked_mul(component.bytes_per_pixel)
    }

    /// Layout of the plane of a compressed format: no lines, and as many bytes as `wanted`, from
    /// what the smallest picture needs to [`MAX_COMPRESSED_BYTES`].
    #[must_use]
    pub fn compressed_layout(&self, width: u32, height: u32, wanted: u32) -> PlaneLayout {
        // What an incompressible picture takes in 4:2:0 samples, with room for headers.
        let picture = width.saturating_mul(height).saturating_mul(3) / 2;
        let least = MIN_COMPRESSED_BYTES.max(picture / 4);
        let sizeimage = match wanted {
            0 => MIN_COMPRESSED_BYTES.max(picture),
            wanted => wanted.max(least),
        };
        PlaneLayout {
            bytesperline: 0,
            sizeimage: sizeimage.min(MAX_COMPRESSED_BYTES),
        }
    }

    /// Layout of memory plane `index`. `bytesperline` is taken if it is long enough and not
    /// longer than `max_bytesperline`, and the shortest line is used otherwise.
    ///
    /// `None` for a plane that does not exist, or sizes beyond 32 bits.
    #[must_use]
    pub fn plane_layout(
        &self,
        index: usize,
        width: u32,
        height: u32,
        bytesperline: u32,
        max_bytesperline: u32,
    ) -> Option<PlaneLayout> {
        if index >= self.memory_planes {
            return None;
        }
        if self.is_compressed() {
            return Some(self.compressed_layout(width, height, 0));
        }
        let shortest = self.line_bytes(index, width)?;
        // Whole macropixels only, and whole lines of chroma.
        let align = self.line_alignment(index);
        let longest = max_bytesperline - max_bytesperline % align;
        let wanted = bytesperline.min(longest).checked_next_multiple_of(align)?;
        let line = wanted.min(longest).max(shortest);
        let here: &[Component] = if self.memory_planes == 1 {
            self.components
        } else {
            core::slice::from_ref(self.components.get(index)?)
        };
        let mut size = 0u32;
        for component in here {
            let lines = height.div_ceil(component.vertical_step.max(1));
            let line = self.component_line(component, line);
            size = size.checked_add(line.checked_mul(lines)?)?;
        }
        Some(PlaneLayout {
            bytesperline: line,
            sizeimage: size,
        })
    }

    /// Where component `index` lies in a picture of `width` x `height` whose memory planes have
    /// `layouts`; `None` for a component that does not exist or layouts that do not hold it.
    #[must_use]
    pub fn component_layout(
        &self,
        index: usize,
        width: u32,
        height: u32,
        layouts: &[PlaneLayout],
    ) -> Option<ComponentLayout> {
        let component = self.components.get(index)?;
        let memory_plane = if self.memory_planes == 1 { 0 } else { index };
        let layout = layouts.get(memory_plane)?;
        let mut offset = 0u64;
        if self.memory_planes == 1 {
            for before in self.components.get(..index)? {
                let lines = u64::from(height.div_ceil(before.vertical_step.max(1)));
                let line = self.component_line(before, layout.bytesperline);
                let bytes = lines.checked_mul(u64::from(line))?;
                offset = offset.checked_add(bytes)?;
            }
        }
        Some(ComponentLayout {
            memory_plane,
            offset,
            bytesperline: self.component_line(component, layout.bytesperline),
            lines: height.div_ceil(component.vertical_step.max(1)),
            line_bytes: self.line_bytes(index, width)?,
        })
    }

    /// Bytes from one line of a component to the next, where those of the first component's lines
    /// in its memory plane are known.
    const fn component_line(&self, component: &Component, bytesperline: u32) -> u32 {
        if self.memory_planes == 1 && component.horizontal_step > 1 {
            bytesperline / component.horizontal_step
        } else {
            bytesperline
        }
    }

    fn line_alignment(&self, index: usize) -> u32 {
        if self.align.0 <= 1 {
            // Pixels that stand alone may end anywhere.
            return 1;
        }
        let bytes = self.components.get(index).map_or(1, |c| c.bytes_per_pixel);
        bytes.saturating_mul(self.align.0).max(1)
    }
}

#[cfg(test)]
mod tests;
