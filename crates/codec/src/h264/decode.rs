//! The decoder.

use super::params::{Params, Tool, format};
use super::raw::{Given, RawDecoder};
use crate::job::{Config, Field, StreamFormat};
use crate::serve::{Codec, Out, Stop};
use crate::units::{Cutter, Unit};
use std::collections::VecDeque;

/// Most units whose pictures have not come: far more than a decoder may hold.
const MAX_STAMPS: usize = 64;

/// A unit that was given to the library.
struct Stamp {
    number: u64,
    tag: u64,
    damaged: bool,
}

/// Whether nothing can be decoded before an IDR picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum NeedsKey {
    /// There was one.
    No,
    /// There was none, which is a fault of the stream.
    #[default]
    Yes,
    /// There was none, and that was said, or is nobody's fault.
    Silently,
}

/// Byte stream to pictures.
#[derive(Default)]
pub(crate) struct Decoder {
    cutter: Cutter<Params>,
    stream: Stream,
}

/// The stream as far as it was given to the library.
#[derive(Default)]
struct Stream {
    raw: Option<RawDecoder>,
    /// The sequence parameter set in use, as it came.
    sps: Vec<u8>,
    /// Why pictures of that set are not decoded.
    refused: Option<String>,
    /// What the host is ready for.
    format: Option<StreamFormat>,
    needs_key: NeedsKey,
    stamps: VecDeque<Stamp>,
    /// Whether the last unit's picture has parts missing.
    open: bool,
    count: u64,
}

impl Decoder {
    /// Decodes what is complete.
    fn go(&mut self, all: bool, out: &mut Out) -> Result<(), Stop> {
        loop {
            let unit = self.cutter.next(all);
            while let Some((tag, sentence)) = self.cutter.fault() {
                out.corrupt(tag, &sentence)?;
            }
            let Some(unit) = unit else { break };
            let inexact = self.cutter.syntax.take_inexact();
            self.stream.unit(&unit, inexact, &self.cutter.syntax, out)?;
        }
        // The format is known once an IDR picture begins; the host can get ready meanwhile.
        if let Some((slice, true)) = self.cutter.pending() {
            self.stream.begin(slice, &self.cutter.syntax, out)?;
        }
        Ok(())
    }
}

impl Codec for Decoder {
    fn configure(&mut self, config: Config) {
        if let Config::Decoder(framing) = config {
            self.cutter.set_framing(framing);
        }
    }

    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        self.cutter.push(tag, data);
        self.go(false, out)
    }

    fn drain(&mut self, out: &mut Out) -> Result<(), Stop> {
        self.go(true, out)?;
        self.stream.drain(out)
    }

    fn flush(&mut self, _: &mut Out) {
        self.cutter.clear();
        self.stream.raw = None;
        self.stream.stamps.clear();
        self.stream.open = false;
        self.stream.sps.clear();
        // After a seek, pictures before the next IDR picture are nobody's fault.
        self.stream.needs_key = NeedsKey::Silently;
    }
}

impl Stream {
    /// Gets ready for the sequence that an IDR picture begins: if its parameters are new, all
    /// pictures of the old one come out, and the host is told the new format.
    fn begin(&mut self, slice: &[u8], params: &Params, out: &mut Out) -> Result<(), Stop> {
        let Some((bytes, sps)) = params.of_slice(slice) else {
            return Ok(());
        };
        if self.sps == bytes {
            return Ok(());
        }
        self.drain(out)?;
        self.raw = None;
        self.open = false;
        self.sps = bytes.to_vec();
        self.refused = None;
        match format(sps) {
            Err(sentence) => {
                self.refused = Some(sentence);
                Ok(())
            }
            Ok(format) if self.format == Some(format) => Ok(()),
            Ok(format) => {
                let told = out.format(&format);
                if told.is_ok() {
                    self.format = Some(format);
                }
                told
            }
        }
    }

    fn unit(
        &mut self,
        unit: &Unit,
        inexact: Option<Tool>,
        params: &Params,
        out: &mut Out,
    ) -> Result<(), Stop> {
        if params.of_slice(&unit.slice).is_none() {
            let sentence = "a picture refers to a parameter set that never came";
            return out.corrupt(unit.tag, sentence);
        }
        if unit.key {
            self.begin(&unit.slice, params, out)?;
            self.needs_key = NeedsKey::No;
        }
        match self.needs_key {
            NeedsKey::No => {}
            NeedsKey::Silently => return Ok(()),
            NeedsKey::Yes => {
                self.needs_key = NeedsKey::Silently;
                let sentence = "a picture before the first IDR picture cannot be decoded";
                return out.corrupt(unit.tag, sentence);
            }
        }
        if let Some(tool) = inexact.filter(|_| self.refused.is_none()) {
            // Pictures after it may refer to it, and the library would go on with what it has.
            self.drain(out)?;
            self.raw = None;
            self.open = false;
            self.refused = Some(tool.sentence().to_owned());
        }
        match &self.refused {
            Some(sentence) => out.unsupported(unit.tag, sentence),
            None => self.feed(unit, params, out),
        }
    }

    fn feed(&mut self, unit: &Unit, params: &Params, out: &mut Out) -> Result<(), Stop> {
        if self.raw.is_none() {
            self.raw = RawDecoder::new();
            let Some(raw) = self.raw.as_mut() else {
                return out.corrupt(unit.tag, "openh264 has no memory for a decoder");
            };
            raw.decode(&params.stream(), 0);
        }
        self.count += 1;
        let number = self.count;
        if self.stamps.len() >= MAX_STAMPS {
            self.stamps.pop_front();
        }
        self.stamps.push_back(Stamp {
            number,
            tag: unit.tag,
            damaged: false,
        });
        let Some(raw) = self.raw.as_mut() else {
            return Ok(());
        };
        // A picture with parts missing stays open: the library makes up the rest when the next
        // unit begins, and tells then.
        let before = std::mem::replace(&mut self.open, false);
        let mut pictures = raw.held();
        let given = raw.decode(&unit.bytes, number);
        let mut state = if before { 0 } else { given.state };
        let mut came = usize::from(given.picture.is_some());
        give(&mut self.stamps, self.format.as_ref(), given, out)?;
        // A picture of before that was made whole just now.
        pictures += usize::from(before && came + raw.held() > pictures);
        let given = raw.end_unit(number);
        state |= given.state;
        came += usize::from(given.picture.is_some());
        // Whether this unit's picture is among those held and those that came is known only after
        // the call, but the picture itself may come with it: tell damage first.
        if state != 0 {
            mark(&mut self.stamps, number);
        }
        give(&mut self.stamps, self.format.as_ref(), given, out)?;
        self.open = raw.held() + came <= pictures;
        if self.open {
            mark(&mut self.stamps, number);
        }
        match (state, self.open) {
            (0, false) => Ok(()),
            (0, true) => out.corrupt(unit.tag, "parts of the picture are missing"),
            (state, _) => out.corrupt(unit.tag, &sentence(state)),
        }
    }

    /// Gives all pictures that the library holds.
    fn drain(&mut self, out: &mut Out) -> Result<(), Stop> {
        let Some(raw) = self.raw.as_mut() else {
            return Ok(());
        };
        let format = self.format.as_ref();
        let given = raw.end_unit(self.count);
        give(&mut self.stamps, format, given, out)?;
        for _ in 0..raw.held() {
            let picture = raw.flush();
            give(&mut self.stamps, format, Given { state: 0, picture }, out)?;
        }
        self.stamps.clear();
        Ok(())
    }
}

/// Remembers that a unit's picture is damaged.
fn mark(stamps: &mut VecDeque<Stamp>, number: u64) {
    if let Some(stamp) = stamps.iter_mut().find(|stamp| stamp.number == number) {
        stamp.damaged = true;
    }
}

/// Gives a picture with the tag of its unit.
fn give(
    stamps: &mut VecDeque<Stamp>,
    format: Option<&StreamFormat>,
    given: Given<'_>,
    out: &mut Out,
) -> Result<(), Stop> {
    let Some(picture) = given.picture else {
        return Ok(());
    };
    let at = stamps.iter().position(|s| s.number == picture.stamp);
    let (tag, damaged) = match at.and_then(|at| stamps.remove(at)) {
        Some(stamp) => (stamp.tag, stamp.damaged),
        // A picture that the library made up belongs to no unit.
        None => (stamps.back().map_or(0, |s| s.tag), true),
    };
    let size = (picture.planes.width, picture.planes.height);
    if format.map(|f| (f.visible.width, f.visible.height)) != Some(size) {
        let sentence = format!("openh264 gave a picture of {}x{}", size.0, size.1);
        return out.corrupt(tag, &sentence);
    }
    out.picture(tag, damaged, &picture.planes, Field::Progressive)
}

/// What the library's state means.
fn sentence(state: i32) -> String {
    let meanings = [
        (openh264_sys2::dsRefLost, "a reference picture is missing"),
        (openh264_sys2::dsBitstreamError, "the stream is damaged"),
        (openh264_sys2::dsDepLayerLost, "a layer is missing"),
        (openh264_sys2::dsNoParamSets, "a parameter set is missing"),
        (
            openh264_sys2::dsDataErrorConcealed,
            "parts of the picture are made up",
        ),
        (
            openh264_sys2::dsRefListNullPtrs,
            "a reference picture is missing from its list",
        ),
        (openh264_sys2::dsOutOfMemory, "there is no memory"),
    ];
    let said: Vec<&str> = meanings
        .iter()
        .filter(|(bit, _)| state & bit != 0)
        .map(|(_, meaning)| *meaning)
        .collect();
    if said.is_empty() {
        return format!("openh264 cannot decode the picture: state {state:#x}");
    }
    said.join("; ")
}
