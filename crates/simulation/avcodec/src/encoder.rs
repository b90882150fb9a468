//! Encodes pictures to a stream, one packet for each picture. A new set-up begins a new stream.

use crate::encoders::{self, Encoder as Library, Settings};
use vb3_codec::{CodecRow, Config, Out, Planes, Stop};

/// Settings of one kind of stream.
pub(crate) trait Coding: Copy + PartialEq {
    /// The name of the encoder's library, for messages.
    const LIBRARY: &str;
    /// Whether this library starts a thread when it is opened.
    ///
    /// The codec process may start threads only at set-up. So such a library is opened once in the life of
    /// the process. To begin a new stream, it makes a key picture.
    const OPENS_AT_SET_UP: bool = false;

    /// Returns the settings from a set-up; `None` if the set-up is for another kind of stream.
    fn of(config: Config) -> Option<Self>;

    /// Converts these settings to the library's form.
    fn settings(&self) -> Settings;

    /// Returns those parts of a stream's first packet that are passed on. By default, this is the whole
    /// packet.
    fn first_parts(packet: &[u8]) -> Vec<&[u8]> {
        vec![packet]
    }

    /// Returns the bitrate if it alone differs from `before`, and the library can change it within a stream.
    fn new_bitrate(&self, before: &Self) -> Option<u32> {
        let _ = before;
        None
    }
}

/// Encodes pictures with the settings `S`.
pub(crate) struct Encoder<S> {
    settings: Option<S>,
    /// The encoder, opened at the first picture or at set-up.
    library: Option<Library>,
    /// Number of pictures since the library was opened.
    count: u64,
    /// Whether the next picture begins a new stream, although the library stays open.
    restarts: bool,
}

impl<S: Coding> Encoder<S> {
    /// Makes an encoder; `None` if the library has none for such a stream.
    pub(crate) fn new(row: &CodecRow) -> Option<Self> {
        encoders::name(row.library)?;
        Some(Self {
            settings: None,
            library: None,
            count: 0,
            restarts: false,
        })
    }

    /// Makes the next picture begin a new stream.
    fn restart_stream(&mut self) {
        if S::OPENS_AT_SET_UP {
            self.restarts = true;
        } else {
            self.library = None;
            self.count = 0;
        }
    }
}

impl<S: Coding> vb3_codec::Codec for Encoder<S> {
    fn configure(&mut self, config: Config) {
        let Some(settings) = S::of(config) else {
            return;
        };
        let before = self.settings.replace(settings);
        if before == Some(settings) {
            return;
        }
        let bitrate = before.and_then(|before| settings.new_bitrate(&before));
        match (self.library.as_mut(), bitrate) {
            (Some(library), Some(bitrate)) => library.set_bitrate(bitrate),
            _ => self.restart_stream(),
        }
        if S::OPENS_AT_SET_UP {
            self.library = Library::open(&settings.settings());
        }
    }

    fn encode(
        &mut self,
        tag: u64,
        picture: &Planes<'_>,
        force_key: bool,
        out: &mut Out,
    ) -> Result<(), Stop> {
        let Some(settings) = self.settings else {
            return out.corrupt(tag, "the encoder is not set up");
        };
        if self.library.is_none() && !S::OPENS_AT_SET_UP {
            self.library = Library::open(&settings.settings());
        }
        let Some(library) = self.library.as_mut() else {
            let sentence = format!("{} refuses these settings", S::LIBRARY);
            return out.corrupt(tag, &sentence);
        };
        let sentence = match library.encode(picture, self.count, force_key || self.restarts) {
            Ok(Some((data, key))) => {
                let parts = match self.count {
                    0 => S::first_parts(data),
                    _ => vec![data],
                };
                self.count += 1;
                self.restarts = false;
                return out.packet(tag, key, &parts);
            }
            Ok(None) => format!("{} returned nothing for the picture", S::LIBRARY),
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
