//! Decodes pieces of a stream to pictures: the stateful decoders of all codecs.
//!
//! The library is libavcodec. The host is the process that started this codec process.

mod ahead;

use crate::library::{Error, Library, Picture};
use std::collections::VecDeque;
use vb3_codec::units::{Parser, Unit};
use vb3_codec::{
    CodecRow, Config, Input, Kind, MAX_HEIGHT, MAX_WIDTH, Out, Stop, StreamFormat, Work,
};

/// Maximum number of access units whose pictures are pending. A decoder reorders far fewer.
const MAX_STAMPS: usize = 64;
/// Maximum size in bytes of the units that are kept, so that they can be decoded again after a drain.
const MAX_KEPT: usize = 32 << 20;

/// A unit that the library has received.
struct Stamp {
    number: u64,
    tag: u64,
    damaged: bool,
}

/// Decodes a stream whose pictures the library returns in display order.
pub(crate) struct Decoder {
    row: &'static CodecRow,
    parser: Box<dyn Parser>,
    library: Library,
    ahead: ahead::Ahead,
    stamps: VecDeque<Stamp>,
    /// Number of units passed to the library so far.
    count: u64,
    /// The format that the host has accepted.
    format: Option<StreamFormat>,
    history: History,
    /// Number of units before the latest drain or flush. Pictures of them that come later are dropped.
    drained: u64,
    /// Whether no unit has come since the last drain. If so, the library has no reference pictures.
    is_cold: bool,
    /// Number of bytes that the last probe read without finding a format.
    probed: usize,
    /// The tag of the last reported fault. A piece may have millions of faults.
    faulted: Option<u64>,
}

impl Decoder {
    /// Makes a decoder; `None` if the library has none for the codec, or if memory is short.
    pub(crate) fn new(row: &'static CodecRow) -> Option<Self> {
        let Work::Decoder(Input::Stream(parser) | Input::Frames(parser)) = row.work else {
            return None;
        };
        Some(Self {
            row,
            parser: parser(),
            library: Library::open(row, 1)?,
            ahead: ahead::Ahead::default(),
            stamps: VecDeque::new(),
            count: 0,
            format: None,
            history: History::default(),
            drained: 0,
            is_cold: false,
            probed: 0,
            faulted: None,
        })
    }

    /// Decodes the complete units.
    fn decode_units(&mut self, all: bool, out: &mut Out) -> Result<(), Stop> {
        loop {
            let unit = self.parser.next(all);
            while let Some((tag, sentence)) = self.parser.fault() {
                self.finish_all(out)?;
                out.corrupt(tag, &sentence)?;
            }
            let Some(unit) = unit else { break };
            self.unit(unit, out)?;
        }
        if self.format.is_none() {
            self.probe(out)?;
        }
        Ok(())
    }

    /// Detects the format from the beginning of the first unit.
    ///
    /// The end of the unit is known only when the next one begins, but a host may wait for the format before
    /// it sends more. So a second decoder reads the bytes so far. It reads them again each time their number
    /// has doubled.
    fn probe(&mut self, out: &mut Out) -> Result<(), Stop> {
        if self.parser.waiting() < 2 * self.probed {
            return Ok(());
        }
        let Some(pending) = self.parser.pending() else {
            return Ok(());
        };
        self.probed = self.parser.waiting();
        let Some(mut other) = Library::open(self.row, 1) else {
            return Ok(());
        };
        // The end of the unit is missing, so an error here is no fault yet.
        let _ = other.send(&pending, 0);
        match other.coming() {
            Some((format, true)) if check_size(&format).is_ok() => self.announce(&format, out),
            _ => Ok(()),
        }
    }

    fn unit(&mut self, unit: Unit, out: &mut Out) -> Result<(), Stop> {
        self.warm_up(unit.key, unit.tag, out)?;
        self.prepare(&unit, out)?;
        self.count += 1;
        if self.stamps.len() >= MAX_STAMPS {
            self.stamps.pop_front();
        }
        self.stamps.push_back(Stamp {
            number: self.count,
            tag: unit.tag,
            damaged: false,
        });
        let sent = self.send(&unit.bytes, self.count);
        self.announce_coming(out)?;
        self.history.push(unit, self.count);
        self.handle_sent(self.count, sent, out)
    }

    fn announce_coming(&mut self, out: &mut Out) -> Result<(), Stop> {
        if self.format.is_none()
            && let Some((format, true)) = self.library.coming()
            && check_size(&format).is_ok()
        {
            // The format is announced before the picture is decoded, so that the host can prepare meanwhile.
            self.announce(&format, out)?;
        }
        Ok(())
    }

    /// Handles the library's answer to a unit, which the library has decoded.
    fn handle_outcome(
        &mut self,
        number: u64,
        outcome: Result<(), Error>,
        out: &mut Out,
    ) -> Result<(), Stop> {
        let stamp = self.stamps.iter().rfind(|stamp| stamp.number == number);
        let tag = stamp.map_or(0, |stamp| stamp.tag);
        if let Err(error) = outcome {
            self.mark_damaged(number);
            self.report_fault(&error, tag, out)?;
        }
        self.take(tag, out)
    }

    fn mark_damaged(&mut self, number: u64) {
        let mut stamps = self.stamps.iter_mut();
        if let Some(stamp) = stamps.rfind(|stamp| stamp.number == number) {
            stamp.damaged = true;
        }
    }

    /// After a drain, decodes again the units whose pictures the next pictures may refer to.
    fn warm_up(&mut self, is_key: bool, tag: u64, out: &mut Out) -> Result<(), Stop> {
        // In these codecs' streams, pictures after a key picture may refer to pictures before it (open GOPs).
        let opens = matches!(self.row.kind, Kind::Mpeg2Decoder | Kind::Mpeg4Decoder);
        if !std::mem::take(&mut self.is_cold) || is_key && !opens {
            return Ok(());
        }
        if self.history.units.is_empty() && !is_key {
            let sentence = "cannot continue after a drain: the last key picture is too far back";
            return out.corrupt(tag, sentence);
        }
        self.use_one_thread();
        for (number, bytes) in &self.history.units {
            out.begin_piece();
            // The unit's faults have been reported already.
            let _ = self.library.send(bytes, *number);
            while let Ok(Some(_)) = self.library.receive() {}
        }
        Ok(())
    }

    /// Drops all pictures of the library.
    fn forget(&mut self) {
        self.library.flush();
        self.library.done();
        self.ahead.forget();
    }

    /// Reports a fault. If a piece has several corrupt pictures, only the first one is reported.
    fn report_fault(&mut self, error: &Error, tag: u64, out: &mut Out) -> Result<(), Stop> {
        if error.unsupported {
            return out.unsupported(tag, &error.sentence);
        }
        if self.faulted.replace(tag) == Some(tag) {
            return Ok(());
        }
        out.corrupt(tag, &error.sentence)
    }

    fn announce(&mut self, format: &StreamFormat, out: &mut Out) -> Result<(), Stop> {
        out.format(format)?;
        self.format = Some(*format);
        self.probed = 0;
        Ok(())
    }

    /// Sends all ready pictures to the host. `tag` is that of the unit which the library decoded last.
    fn take(&mut self, tag: u64, out: &mut Out) -> Result<(), Stop> {
        loop {
            let picture = match self.library.receive() {
                Ok(Some(picture)) => picture,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.report_fault(&error, tag, out)?;
                    continue;
                }
            };
            if picture.number.is_some_and(|number| number <= self.drained) {
                continue;
            }
            let (tag, damaged) = stamp_of(&mut self.stamps, &picture, tag);
            if let Err(sentence) = check_size(&picture.format) {
                out.unsupported(tag, &sentence)?;
                continue;
            }
            let Some(planes) = picture.planes else {
                let pixels = self.library.pixels();
                let offers = match self.row.has_ten_bits {
                    true => "4:2:0 of 8 or 10 bits",
                    false => "8-bit 4:2:0",
                };
                let sentence =
                    format!("the stream's pictures are {pixels}; the device offers only {offers}");
                out.unsupported(tag, &sentence)?;
                continue;
            };
            if !self
                .format
                .is_some_and(|now| is_compatible(&now, &picture.format))
            {
                out.format(&picture.format)?;
                self.format = Some(picture.format);
            }
            out.picture(tag, damaged, &planes, picture.field)?;
            self.library.done();
        }
    }
}

/// Returns the tag of a picture, and whether it is damaged.
fn stamp_of(stamps: &mut VecDeque<Stamp>, picture: &Picture<'_>, last: u64) -> (u64, bool) {
    let at = picture
        .number
        .and_then(|number| stamps.iter().position(|stamp| stamp.number == number));
    match at.and_then(|at| stamps.remove(at)) {
        Some(stamp) => (stamp.tag, stamp.damaged || picture.damaged),
        // A picture that the library made up, as for a missing reference, belongs to no unit.
        None => (last, true),
    }
}

/// Returns whether buffers for one format are suitable for the other.
fn is_compatible(one: &StreamFormat, other: &StreamFormat) -> bool {
    let size = |f: &StreamFormat| {
        let coded = (f.coded_width, f.coded_height);
        (coded, f.visible, f.color, f.bits)
    };
    size(one) == size(other)
}

/// Checks the size of pictures. The error says why the size is not supported.
pub(crate) fn check_size(format: &StreamFormat) -> Result<(), String> {
    let (width, height) = (format.coded_width, format.coded_height);
    if width > MAX_WIDTH || height > MAX_HEIGHT {
        return Err(format!(
            "pictures of {width}x{height} are larger than {MAX_WIDTH}x{MAX_HEIGHT}"
        ));
    }
    Ok(())
}

impl vb3_codec::Codec for Decoder {
    fn use_threads(&mut self, count: usize) {
        if let Some(library) = Library::open(self.row, count) {
            let one = std::mem::replace(&mut self.library, library);
            self.ahead.set_other(one);
        }
    }

    fn configure(&mut self, config: Config) {
        if let Config::Decoder(framing) = config {
            self.parser.set_framing(framing);
        }
    }

    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        self.parser.push(tag, data);
        self.decode_units(false, out)
    }

    fn is_ahead(&self) -> bool {
        self.ahead.is_ahead()
    }

    fn catch_up(&mut self, out: &mut Out) -> Result<(), Stop> {
        self.finish_all(out)
    }

    fn drain(&mut self, out: &mut Out) -> Result<(), Stop> {
        self.decode_units(true, out)?;
        self.finish_all(out)?;
        let tag = self.stamps.back().map_or(0, |stamp| stamp.tag);
        if let Err(error) = self.library.end() {
            self.report_fault(&error, tag, out)?;
        }
        let done = self.take(tag, out);
        self.forget();
        self.stamps.clear();
        self.drained = self.count;
        self.is_cold = true;
        done
    }

    fn flush(&mut self, _: &mut Out) {
        self.parser.clear();
        self.forget();
        self.stamps.clear();
        self.history = History::default();
        self.use_all_threads();
        self.drained = self.count;
        self.is_cold = false;
        self.probed = 0;
    }
}

/// The units from the second-last key picture on. After a drain, they are decoded again.
/// The last key picture is not enough, since pictures after it may refer to pictures before it.
#[derive(Default)]
struct History {
    units: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
    /// Numbers of the last two key pictures.
    keys: [u64; 2],
}

impl History {
    fn push(&mut self, unit: Unit, number: u64) {
        if unit.key {
            self.keys = [self.keys[1], number];
            let first = self.keys[0];
            while let Some((number, bytes)) = self.units.pop_front() {
                if number >= first && first != 0 {
                    self.units.push_front((number, bytes));
                    break;
                }
                self.bytes -= bytes.len();
            }
        }
        // Decoding can begin only with a key picture, so units before the first one are not kept.
        if !unit.key && self.units.is_empty() {
            return;
        }
        self.bytes += unit.bytes.len();
        self.units.push_back((number, unit.bytes));
        if self.bytes > MAX_KEPT {
            *self = Self::default();
        }
    }
}
