use super::*;

const STREAM: StreamSettings = StreamSettings {
    width: 34,
    height: 36,
    rate: (30, 2),
    bitrate: 5,
    gop: 6,
};

const COLOR: StreamColor = StreamColor {
    primaries: 7,
    transfer: 8,
    matrix: 9,
    full_range: true,
};

const H264: H264Settings = H264Settings {
    stream: STREAM,
    profile: H264Profile::Main,
    level: Some(42),
    color: COLOR,
};

const HEVC: HevcSettings = HevcSettings {
    stream: STREAM,
    constant: true,
    level: 41,
    most_kilobits: 11,
    qp: (12, 13),
    color: COLOR,
};

const VP8: Vp8Settings = Vp8Settings {
    stream: STREAM,
    constant: true,
    profile: 2,
    qp: (14, 15),
};

const fn jpeg(width: u32, height: u32, quality: u8) -> Config {
    Config::JpegEncoder {
        width,
        height,
        quality,
        sampling: Subsampling::Yuv422,
        has_limited_range: true,
    }
}

const fn sized(width: u32, height: u32) -> StreamSettings {
    StreamSettings {
        width,
        height,
        ..STREAM
    }
}

const FORMAT: StreamFormat = StreamFormat {
    coded_width: 64,
    coded_height: 48,
    visible: Rect {
        left: 1,
        top: 2,
        width: 63,
        height: 46,
    },
    color: COLOR,
    bits: 10,
    profile: 100,
    level: 30,
};

#[test]
fn valid_configurations_survive_conversion() {
    let with = |profile, level| H264Settings {
        profile,
        level,
        ..H264
    };
    let h264 = [
        H264,
        with(H264Profile::ConstrainedBaseline, None),
        with(H264Profile::High, Some(9)),
        H264Settings {
            stream: sized(16, 16),
            ..H264
        },
    ]
    .map(|settings| (Kind::H264Encoder, Config::H264Encoder(settings)));
    let with = |level, qp| HevcSettings { level, qp, ..HEVC };
    let hevc = [
        HEVC,
        with(10, (0, 0)),
        with(62, (51, 51)),
        HevcSettings {
            stream: sized(32, 32),
            ..HEVC
        },
    ]
    .map(|settings| (Kind::HevcEncoder, Config::HevcEncoder(settings)));
    let with = |profile, qp| Vp8Settings { profile, qp, ..VP8 };
    let odd = Vp8Settings {
        stream: sized(1, 1),
        ..VP8
    };
    let vp8 = [VP8, odd, with(0, (0, 0)), with(3, (127, 127))]
        .map(|settings| (Kind::Vp8Encoder, Config::Vp8Encoder(settings)));
    let jpeg = [jpeg(2, 3, 1), jpeg(4096, 2304, 100)].map(|config| (Kind::JpegEncoder, config));
    let framings = [Framing::Auto, Framing::AccessUnits, Framing::Stream];
    let decoders = framings.map(|framing| (Kind::H264Decoder, Config::Decoder(framing)));
    let encoders = [h264, hevc, vp8].into_iter().flatten().chain(jpeg);
    for (kind, config) in encoders.chain(decoders) {
        let (words, layout) = config_to_words(kind, config).unwrap();
        assert_eq!(config_from_words(&words), Some(config));
        assert_eq!(layout.is_some(), kind.encodes(), "{config:?}");
    }
}

#[test]
fn invalid_configurations_are_refused() {
    let refused = |kind, config, part: &str| {
        let why = config_to_words(kind, config).err();
        assert!(
            why.is_some_and(|why| why.contains(part)),
            "{config:?}: {why:?}"
        );
    };
    for (width, height) in [(15, 16), (17, 16), (16, 17), (14, 16), (16, 14)] {
        let stream = sized(width, height);
        let config = Config::H264Encoder(H264Settings { stream, ..H264 });
        refused(
            Kind::H264Encoder,
            config,
            "even width and height of at least 16",
        );
    }
    for (width, height) in [(33, 32), (30, 32), (32, 30)] {
        let stream = sized(width, height);
        let config = Config::HevcEncoder(HevcSettings { stream, ..HEVC });
        refused(
            Kind::HevcEncoder,
            config,
            "even width and height of at least 32",
        );
    }
    for (level, qp) in [(9, (0, 1)), (63, (0, 1)), (41, (2, 1)), (41, (0, 52))] {
        let config = Config::HevcEncoder(HevcSettings { level, qp, ..HEVC });
        refused(Kind::HevcEncoder, config, "levels 1 to 6.2");
    }
    let slow = HevcSettings {
        most_kilobits: 0,
        ..HEVC
    };
    refused(
        Kind::HevcEncoder,
        Config::HevcEncoder(slow),
        "bitrate must not be 0",
    );
    for (profile, qp) in [(4, (0, 1)), (3, (2, 1)), (0, (0, 128))] {
        let config = Config::Vp8Encoder(Vp8Settings { profile, qp, ..VP8 });
        refused(Kind::Vp8Encoder, config, "profiles 0 to 3");
    }
    for quality in [0, 101] {
        refused(Kind::JpegEncoder, jpeg(2, 2, quality), "1 to 100");
    }
    for (width, height) in [(4097, 2), (2, 2305)] {
        refused(Kind::JpegEncoder, jpeg(width, height, 50), "larger than");
    }
    for (rate, bitrate) in [((0, 1), 1), ((1, 0), 1), ((1, 1), 0)] {
        let stream = StreamSettings {
            rate,
            bitrate,
            ..STREAM
        };
        let config = Config::H264Encoder(H264Settings { stream, ..H264 });
        refused(Kind::H264Encoder, config, "must not be 0");
    }
    for (kind, config) in [
        (Kind::JpegEncoder, Config::Decoder(Framing::Auto)),
        (Kind::H264Decoder, Config::H264Encoder(H264)),
        (Kind::HevcEncoder, Config::H264Encoder(H264)),
    ] {
        refused(kind, config, "another kind of codec");
    }
}

#[test]
fn possible_formats_survive_conversion() {
    assert_eq!(format_from_words(&format_to_words(&FORMAT)), Some(FORMAT));
    // Coded width, left, top, visible width, visible height, primaries, bits.
    let bad = [(0, 5000), (2, 2), (3, 3), (4, 0), (5, 0), (6, 256), (12, 9)];
    for (word, value) in bad {
        let mut words = format_to_words(&FORMAT);
        words[word] = value;
        assert_eq!(format_from_words(&words), None, "word {word}");
    }
    assert_eq!(format_from_words(&format_to_words(&FORMAT)[..12]), None);
}
