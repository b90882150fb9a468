//! Encodes pictures to a stream, one packet for each picture. A new set-up begins a new stream.

use crate::encoders::{self, Codec, Encoder as Library, Settings};
use crate::{h264, vp8};
use std::ffi::CStr;
use vb3_codec::{
    CodecRow, Config, H264Profile, H264Settings, Kind, Out, Planes, Stop, StreamColor,
    StreamSettings,
};

/// Converts a set-up to the library's form; `None` if it is for another kind of stream.
fn settings(kind: Kind, config: &Config) -> Option<Settings> {
    Some(match (kind, config) {
        (Kind::H264Encoder, Config::H264Encoder(s)) => Settings {
            profile: match s.profile {
                H264Profile::ConstrainedBaseline => 0,
                H264Profile::Main => 1,
                H264Profile::High => 2,
            },
            level: s.level.map_or(0, u32::from),
            ..Settings::of(Codec::H264, &s.stream, s.color)
        },
        (Kind::HevcEncoder, Config::HevcEncoder(s)) => Settings {
            constant: s.constant.into(),
            level: s.level.into(),
            most_kilobits: s.most_kilobits,
            least_quantizer: s.qp.0.into(),
            greatest_quantizer: s.qp.1.into(),
            ..Settings::of(Codec::Hevc, &s.stream, s.color)
        },
        (Kind::Vp8Encoder, Config::Vp8Encoder(s)) => {
            let (least_quantizer, greatest_quantizer) = vp8::quantizers(s.qp);
            Settings {
                constant: s.constant.into(),
                profile: s.profile.into(),
                least_quantizer,
                greatest_quantizer,
                ..Settings::of(Codec::Vp8, &s.stream, StreamColor::default())
            }
        }
        _ => return None,
    })
}

/// Returns the bitrate of `now` if the two set-ups differ in nothing else, and the encoder's library can change the
/// bitrate within a stream; otherwise `None`.
fn new_bitrate(now: &Config, before: &Config) -> Option<u32> {
    let (Config::H264Encoder(now), Config::H264Encoder(before)) = (now, before) else {
        return None;
    };
    let bitrate = now.stream.bitrate;
    let stream = StreamSettings {
        bitrate,
        ..before.stream
    };
    (*now == H264Settings { stream, ..*before }).then_some(bitrate)
}

/// Encodes pictures to one kind of stream.
pub(crate) struct Encoder {
    kind: Kind,
    /// The library's name of the encoder.
    name: &'static CStr,
    /// The last set-up, and the same in the library's form.
    set_up: Option<(Config, Settings)>,
    /// The encoder, opened at the first picture or at set-up.
    library: Option<Library>,
    /// Number of pictures since the library was opened.
    count: u64,
    /// Whether the next picture begins a new stream, although the library stays open.
    restarts: bool,
}

impl Encoder {
    /// Makes an encoder; `None` if the library has none for such a stream.
    pub(crate) fn new(row: &'static CodecRow) -> Option<Self> {
        encoders::name(row.library)?;
        Some(Self {
            kind: row.kind,
            name: row.library,
            set_up: None,
            library: None,
            count: 0,
            restarts: false,
        })
    }

    /// Returns whether this library starts a thread when it is opened.
    ///
    /// The codec process may start threads only at set-up. So such a library is opened once in the life of
    /// the process. To begin a new stream, it makes a key picture.
    fn opens_at_set_up(&self) -> bool {
        self.kind.is_set_up_once()
    }

    /// Makes the next picture begin a new stream.
    fn restart_stream(&mut self) {
        if self.opens_at_set_up() {
            self.restarts = true;
        } else {
            self.library = None;
            self.count = 0;
        }
    }
}

impl vb3_codec::Codec for Encoder {
    fn configure(&mut self, config: Config) {
        let Some(settings) = settings(self.kind, &config) else {
            return;
        };
        let before = self.set_up.replace((config, settings));
        let before = before.map(|(before, _)| before);
        if before == Some(config) {
            return;
        }
        let bitrate = before.and_then(|before| new_bitrate(&config, &before));
        match (self.library.as_mut(), bitrate) {
            (Some(library), Some(bitrate)) => library.set_bitrate(bitrate),
            _ => self.restart_stream(),
        }
        if self.opens_at_set_up() {
            self.library = Library::open(&settings);
        }
    }

    fn encode(
        &mut self,
        tag: u64,
        picture: &Planes<'_>,
        force_key: bool,
        out: &mut Out,
    ) -> Result<(), Stop> {
        let Some((_, settings)) = &self.set_up else {
            return out.corrupt(tag, "the encoder is not set up");
        };
        if self.library.is_none() && !self.opens_at_set_up() {
            self.library = Library::open(settings);
        }
        let name = self.name.to_string_lossy();
        let Some(library) = self.library.as_mut() else {
            let sentence = format!("{name} refuses these settings");
            return out.corrupt(tag, &sentence);
        };
        let sentence = match library.encode(picture, self.count, force_key || self.restarts) {
            Ok(Some((data, key))) => {
                let parts = match (self.count, self.kind) {
                    (0, Kind::H264Encoder) => h264::without_description(data),
                    _ => vec![data],
                };
                self.count += 1;
                self.restarts = false;
                return out.packet(tag, key, &parts);
            }
            Ok(None) => format!("{name} returned nothing for the picture"),
            Err(error) => error.sentence,
        };
        self.count += 1;
        self.restart_stream();
        out.corrupt(tag, &sentence)
    }

    fn flush(&mut self, _: &mut Out) {
        self.restart_stream();
    }
}
