//! libavcodec's decoders through `shim/`. Only this module calls them.
#![expect(unsafe_code, reason = "calls a C library")]

use std::ffi::{CStr, c_char, c_int};
use std::ptr::NonNull;
use vb3_codec::{CodecRow, Field, Planes, Rect, StreamColor, StreamFormat};

/// Has the layout of `struct vb3_av_format`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct RawFormat {
    coded_width: u32,
    coded_height: u32,
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    sample_bytes: u32,
    primaries: u8,
    transfer: u8,
    matrix: u8,
    full_range: u8,
    profile: i32,
    level: i32,
}

/// Has the layout of `struct vb3_av_picture`.
#[repr(C)]
struct RawPicture {
    format: RawFormat,
    number: i64,
    data: [*const u8; 3],
    strides: [usize; 3],
    damaged: u32,
    interlaced: u32,
}

impl RawPicture {
    const EMPTY: Self = Self {
        format: RawFormat {
            coded_width: 0,
            coded_height: 0,
            left: 0,
            top: 0,
            width: 0,
            height: 0,
            sample_bytes: 0,
            primaries: 0,
            transfer: 0,
            matrix: 0,
            full_range: 0,
            profile: 0,
            level: 0,
        },
        number: 0,
        data: [std::ptr::null(); 3],
        strides: [0; 3],
        damaged: 0,
        interlaced: 0,
    };
}

/// Stands for `struct vb3_av`, which is opaque.
#[repr(C)]
struct RawDecoder {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn vb3_av_version() -> u32;
    fn vb3_av_license() -> *const c_char;
    fn vb3_av_decoder(codec: *const c_char) -> *const c_char;
    fn vb3_av_open(codec: *const c_char, has_ten_bits: c_int, threads: c_int) -> *mut RawDecoder;
    fn vb3_av_close(av: *mut RawDecoder);
    fn vb3_av_depth(av: *const RawDecoder) -> c_int;
    fn vb3_av_nudge(av: *mut RawDecoder) -> c_int;
    fn vb3_av_take_warning(av: *mut RawDecoder) -> c_int;
    fn vb3_av_send(av: *mut RawDecoder, data: *const u8, len: usize, number: i64) -> c_int;
    fn vb3_av_receive(av: *mut RawDecoder, picture: *mut RawPicture) -> c_int;
    fn vb3_av_keep_current(av: *mut RawDecoder) -> c_int;
    fn vb3_av_current(av: *const RawDecoder, picture: *mut RawPicture) -> c_int;
    fn vb3_av_flush(av: *mut RawDecoder);
    fn vb3_av_coming(av: *mut RawDecoder, format: *mut RawFormat) -> c_int;
    fn vb3_av_error(error: c_int, text: *mut c_char, len: usize);
    fn vb3_av_done(av: *mut RawDecoder);
    fn vb3_av_pixels(av: *const RawDecoder) -> *const c_char;
}

/// Copies a static string of the library.
pub(crate) fn text(of: *const c_char) -> Option<String> {
    if of.is_null() {
        return None;
    }
    // SAFETY: the library's names are static and end with 0.
    let text = unsafe { CStr::from_ptr(of) };
    Some(text.to_string_lossy().into_owned())
}

/// Returns the library's version: major, minor and micro.
pub(crate) fn version() -> (u32, u32, u32) {
    // SAFETY: the call takes no arguments and changes nothing.
    let version = unsafe { vb3_av_version() };
    (version >> 16, version >> 8 & 0xff, version & 0xff)
}

/// Returns whether stateless decoding works with this version. Other versions may free a picture's frame while the
/// shim still reads it (`own` in `shim/avcodec.c`).
pub(crate) fn keeps_current() -> bool {
    matches!(version().0, 59..=61)
}

/// Returns the licence of the library's build.
pub(crate) fn license() -> String {
    // SAFETY: the call takes no arguments and changes nothing.
    text(unsafe { vb3_av_license() }).unwrap_or_default()
}

/// Returns the library's name for its decoder of a codec.
pub(crate) fn decoder_name(codec: &CStr) -> Option<String> {
    // SAFETY: the call reads the name, and handles an unknown one.
    text(unsafe { vb3_av_decoder(codec.as_ptr()) })
}

/// A library call's failure.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) sentence: String,
    /// True if the library does not support the stream, false if the stream is damaged.
    pub(crate) unsupported: bool,
}

/// `AVERROR_PATCHWELCOME`: 'P', 'A', 'W', 'E'.
const PATCH_WELCOME: c_int = -0x4557_4150;

pub(crate) fn error(number: c_int) -> Error {
    let mut buffer = [0u8; 128];
    // SAFETY: `buffer` has the given length, and the library terminates it by 0.
    unsafe { vb3_av_error(number, buffer.as_mut_ptr().cast(), buffer.len()) };
    let said = CStr::from_bytes_until_nul(&buffer).unwrap_or_default();
    Error {
        sentence: format!("libavcodec: {}", said.to_string_lossy()),
        unsupported: number == PATCH_WELCOME,
    }
}

/// A decoder of the library.
pub(crate) struct Library(NonNull<RawDecoder>);

/// A picture in the library's memory, valid until the next call.
pub(crate) struct Picture<'a> {
    pub(crate) format: StreamFormat,
    /// Number of the packet that contained the picture.
    pub(crate) number: Option<u64>,
    /// `None` if the device does not support the picture's format.
    pub(crate) planes: Option<Planes<'a>>,
    pub(crate) damaged: bool,
    pub(crate) field: Field,
}

impl Library {
    /// Opens a decoder with this many threads. Returns `None` if the library has no decoder of this codec, or if
    /// memory is short.
    pub(crate) fn open(row: &CodecRow, threads: usize) -> Option<Self> {
        let threads = c_int::try_from(threads).ok()?;
        // SAFETY: the call reads the name, and handles an unknown one.
        let opened = unsafe { vb3_av_open(row.library.as_ptr(), row.has_ten_bits.into(), threads) };
        NonNull::new(opened).map(Self)
    }

    /// Opens a decoder like [`open`](Self::open), and makes [`current`](Self::current) available.
    pub(crate) fn open_keeping(row: &CodecRow) -> Option<Self> {
        let library = Self::open(row, 1).filter(|_| keeps_current())?;
        // SAFETY: the decoder is ours.
        let failed = unsafe { vb3_av_keep_current(library.0.as_ptr()) };
        (failed >= 0).then_some(library)
    }

    /// Returns how many access units the decoder works on at once. If there are several, [`send`](Self::send) returns
    /// the error of the oldest of them, and [`receive`](Self::receive) its picture.
    pub(crate) fn depth(&self) -> usize {
        // SAFETY: the decoder is ours.
        let depth = unsafe { vb3_av_depth(self.0.as_ptr()) };
        usize::try_from(depth).unwrap_or(1)
    }

    /// Returns whether the library has warned of a fault since the last call or flush. Faults that the library
    /// conceals are among them.
    pub(crate) fn take_warning(&mut self) -> bool {
        // SAFETY: the decoder is ours.
        unsafe { vb3_av_take_warning(self.0.as_ptr()) != 0 }
    }

    /// Sends a unit without a picture, so that the library passes on the oldest unit that it works on. Needs a
    /// [`depth`](Self::depth) of more than 1.
    pub(crate) fn nudge(&mut self) -> Result<(), Error> {
        // SAFETY: the decoder is ours.
        let failed = unsafe { vb3_av_nudge(self.0.as_ptr()) };
        if failed < 0 {
            return Err(error(failed));
        }
        Ok(())
    }

    /// Decodes an access unit. Its picture has the same `number`.
    pub(crate) fn send(&mut self, unit: &[u8], number: u64) -> Result<(), Error> {
        self.call(unit.as_ptr(), unit.len(), number)
    }

    /// Tells the library that the input has ended, so that it returns all pending pictures. After the last
    /// one, call [`flush`](Self::flush).
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.call(std::ptr::null(), 0, 0)
    }

    fn call(&mut self, data: *const u8, len: usize, number: u64) -> Result<(), Error> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        // SAFETY: the decoder is ours; `data` has `len` bytes, which the call copies.
        let failed = unsafe { vb3_av_send(self.0.as_ptr(), data, len, number) };
        if failed < 0 {
            return Err(error(failed));
        }
        Ok(())
    }

    /// Returns the next picture that is ready.
    pub(crate) fn receive(&mut self) -> Result<Option<Picture<'_>>, Error> {
        let mut raw = RawPicture::EMPTY;
        // SAFETY: the decoder is ours, and the call fills `raw`.
        let found = unsafe { vb3_av_receive(self.0.as_ptr(), &raw mut raw) };
        if found <= 0 {
            return if found < 0 {
                Err(error(found))
            } else {
                Ok(None)
            };
        }
        Ok(Some(picture(&raw)))
    }

    /// Returns the picture of the packet sent last, even if the library would return it later. Needs
    /// [`open_keeping`](Self::open_keeping).
    pub(crate) fn current(&mut self) -> Option<Picture<'_>> {
        let mut raw = RawPicture::EMPTY;
        // SAFETY: the decoder is ours, and the call fills `raw`.
        let found = unsafe { vb3_av_current(self.0.as_ptr(), &raw mut raw) };
        (found > 0).then(|| picture(&raw))
    }

    /// Releases the picture that was received last.
    pub(crate) fn done(&mut self) {
        // SAFETY: the decoder is ours.
        unsafe { vb3_av_done(self.0.as_ptr()) };
    }

    /// Drops all pictures and restarts decoding.
    pub(crate) fn flush(&mut self) {
        // SAFETY: the decoder is ours.
        unsafe { vb3_av_flush(self.0.as_ptr()) };
    }

    /// Returns the format of the picture being decoded, and whether the device supports it.
    pub(crate) fn coming(&self) -> Option<(StreamFormat, bool)> {
        let mut raw = RawFormat::default();
        // SAFETY: the decoder is ours, and the call fills `raw`.
        let is_known = unsafe { vb3_av_coming(self.0.as_ptr(), &raw mut raw) } != 0;
        is_known.then(|| (format(&raw), raw.sample_bytes != 0))
    }

    /// Returns the library's name of the last picture's pixel format.
    pub(crate) fn pixels(&self) -> String {
        // SAFETY: the decoder is ours.
        text(unsafe { vb3_av_pixels(self.0.as_ptr()) }).unwrap_or_default()
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: the decoder is ours and not used again.
        unsafe { vb3_av_close(self.0.as_ptr()) };
    }
}

/// Converts a format. A profile or level outside 0 to 255 becomes 0.
fn format(raw: &RawFormat) -> StreamFormat {
    let small = |value: i32| u8::try_from(value).unwrap_or(0);
    StreamFormat {
        coded_width: raw.coded_width,
        coded_height: raw.coded_height,
        visible: Rect {
            left: raw.left,
            top: raw.top,
            width: raw.width,
            height: raw.height,
        },
        color: StreamColor {
            primaries: raw.primaries,
            transfer: raw.transfer,
            matrix: raw.matrix,
            full_range: raw.full_range != 0,
        },
        bits: if raw.sample_bytes == 2 { 10 } else { 8 },
        profile: small(raw.profile),
        level: small(raw.level),
    }
}

/// Converts the C description of a picture. The library's memory must outlive the result.
fn picture<'a>(raw: &RawPicture) -> Picture<'a> {
    Picture {
        format: format(&raw.format),
        number: u64::try_from(raw.number).ok(),
        planes: planes(raw),
        damaged: raw.damaged != 0,
        field: match raw.interlaced {
            0 => Field::Progressive,
            1 => Field::TopFirst,
            _ => Field::BottomFirst,
        },
    }
}

fn planes<'a>(raw: &RawPicture) -> Option<Planes<'a>> {
    let (width, height) = (raw.format.width, raw.format.height);
    let half = (width.div_ceil(2), height.div_ceil(2));
    let mut data: [&[u8]; 3] = [&[]; 3];
    let shapes = [(width, height), half, half];
    for (i, (columns, rows)) in shapes.into_iter().enumerate() {
        let bytes = columns as usize * raw.format.sample_bytes as usize;
        let (rows, stride) = (rows as usize, raw.strides[i]);
        if raw.data[i].is_null() || rows == 0 || stride < bytes {
            return None;
        }
        let len = stride * (rows - 1) + bytes;
        // SAFETY: a plane has `rows` rows of at least `bytes` bytes, `stride` apart, from the start of
        // its visible part. The plane stays until the next call. That call needs the decoder
        // exclusively, and the picture borrows the decoder.
        data[i] = unsafe { core::slice::from_raw_parts(raw.data[i], len) };
    }
    Some(Planes {
        width,
        height,
        data,
        strides: raw.strides,
    })
}
