//! Decodes complete single pictures and returns them in the same order.
//!
//! The library (libavcodec) would reorder pictures for display, and drop late ones. The program of a
//! stateless decoder orders the pictures itself. So each piece's picture is returned as soon as it is
//! complete. The library reads the references between pictures from the slice headers.

use crate::decoder::check_size;
use crate::library::{Error, Library};
use vb3_codec::{CodecRow, Field, Out, Stop, StreamFormat};

/// A decoder of pictures in decoding order.
pub(crate) struct Stateless {
    library: Library,
    /// Number of pieces decoded so far.
    count: u64,
    /// The format that the parent process has accepted.
    format: Option<StreamFormat>,
}

impl Stateless {
    /// Makes a decoder; `None` if the library has none for the codec, or if memory is short.
    pub(crate) fn new(row: &CodecRow) -> Option<Self> {
        Some(Self {
            library: Library::open_keeping(row)?,
            count: 0,
            format: None,
        })
    }

    /// Sends the picture of the piece decoded last to the parent process, or reports why there is none.
    fn give(&mut self, tag: u64, failed: Option<&Error>, out: &mut Out) -> Result<(), Stop> {
        let pixels = self.library.pixels();
        let Some(picture) = self.library.current() else {
            return match failed {
                Some(error) if error.unsupported => out.unsupported(tag, &error.sentence),
                Some(error) => out.corrupt(tag, &error.sentence),
                None => out.corrupt(tag, "the input has no picture that can be decoded"),
            };
        };
        let Some(planes) = picture.planes else {
            let sentence =
                format!("the stream's pictures are {pixels}; the device offers only 8-bit 4:2:0");
            return out.unsupported(tag, &sentence);
        };
        if let Err(sentence) = check_size(&picture.format) {
            return out.unsupported(tag, &sentence);
        }
        let size = |format: &StreamFormat| (format.visible.width, format.visible.height);
        let format = picture.format;
        if self.format.as_ref().map(size) != Some(size(&format)) {
            out.format(&format)?;
            self.format = Some(format);
        }
        let damaged = picture.damaged || failed.is_some();
        if let Some(error) = failed {
            out.corrupt(tag, &error.sentence)?;
        }
        out.picture(tag, damaged, &planes, Field::Progressive)
    }
}

impl vb3_codec::Codec for Stateless {
    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        if data.is_empty() {
            return Ok(());
        }
        self.count += 1;
        let sent = self.library.send(data, self.count);
        // The library's output, in display order, is ignored, because `give` takes each picture as soon
        // as it is complete. Errors of this output are ignored too, so that `give` alone reports errors.
        while let Ok(Some(_)) = self.library.receive() {
            self.library.done();
        }
        self.give(tag, sent.err().as_ref(), out)
    }

    fn flush(&mut self, _: &mut Out) {
        self.library.flush();
    }
}
