//! Decodes, converts and shows an H.264 byte stream in this process, with the devices' libraries only.
//! Usage: `pipeline STREAM SIZE[,SIZE...] [OUT.raw]`. `cargo xtask bench pipeline` compares a pipeline of
//! devices with this program.
//!
//! libavcodec is opened by the same source file as in `vb3-codec`. Each picture is converted to every SIZE in
//! turn. There are no other copies: the first conversion reads the codec's memory, and the last one writes
//! the display's memory.

#[expect(dead_code, reason = "the example uses only a part of the module")]
#[path = "../../avcodec/src/library.rs"]
mod library;

// The module `library` calls C code of this crate.
use vb3_avcodec as _;

use library::Library;
use std::error::Error;
use std::path::PathBuf;
use vb3_codec::units::{Cutter, H264, Parser as _};
use vb3_codec::{Kind, Planes};
use vb3_devices::sink::{Shape, Sink};
use vb3_devices::spec::SinkSpec;
use vb3_picture::convert::{Converter, Job, View, ViewMut};
use vb3_picture::{Color, Frame, Size};
use vb3_v4l2::{Fraction, pixfmt};

/// Bytes of the stream that are cut into frames at a time. The program in the benchmark's pipeline of devices
/// queues buffers of this size.
const PIECE: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [stream, sizes, rest @ ..] = args.as_slice() else {
        return Err("pipeline STREAM SIZE[,SIZE...] [OUT.raw]".into());
    };
    let stream = std::fs::read(stream)?;
    let sizes: Result<Vec<Size>, _> = sizes.split(',').map(parse_size).collect();
    let mut line = Line::new(sizes?, rest.first().map(PathBuf::from))?;
    let library = Kind::H264Decoder.row();
    let library = library.and_then(|row| Library::open(row, 1));
    let mut library = library.ok_or("libavcodec was not installed when this was built")?;
    let mut cutter = Cutter::<H264>::default();
    let mut pieces = stream.chunks(PIECE);
    loop {
        let piece = pieces.next();
        cutter.push(0, piece.unwrap_or_default());
        while let Some(unit) = cutter.next(piece.is_none()) {
            library.send(&unit.bytes, 0).map_err(|e| e.sentence)?;
            line.take(&mut library)?;
        }
        if piece.is_none() {
            break;
        }
    }
    library.end().map_err(|e| e.sentence)?;
    line.take(&mut library)?;
    println!("frames {}", line.sink.finish().shown);
    Ok(())
}

fn parse_size(text: &str) -> Result<Size, Box<dyn Error>> {
    let (width, height) = text.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
    Ok(Size::new(width.parse()?, height.parse()?).ok_or("no such size")?)
}

/// The steps after the decoder.
struct Line {
    engine: Converter,
    /// The pictures from each conversion except the last one, which writes to the display.
    between: Vec<Frame>,
    size: Size,
    sink: Sink,
}

impl Line {
    fn new(mut sizes: Vec<Size>, out: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        let size = sizes.pop().ok_or("no size")?;
        let mut sink = Sink::open(&out.map_or(SinkSpec::Null, SinkSpec::Raw))?;
        let interval = Fraction {
            numerator: 1,
            denominator: 25,
        };
        sink.begin(Shape {
            format: &pixfmt::NV12,
            size,
            interval,
            color: Color::default(),
        })?;
        let between = sizes
            .into_iter()
            .map(|size| Frame::new(&pixfmt::NV12, size));
        Ok(Self {
            engine: Converter::new(),
            between: between.collect(),
            size,
            sink,
        })
    }

    /// Shows the pictures that are ready.
    fn take(&mut self, library: &mut Library) -> Result<(), Box<dyn Error>> {
        while let Some(picture) = library.receive().map_err(|e| e.sentence)? {
            self.show(&picture.planes.ok_or("the pictures are no 8-bit 4:2:0")?)?;
            library.done();
        }
        Ok(())
    }

    fn show(&mut self, picture: &Planes<'_>) -> Result<(), Box<dyn Error>> {
        let size = Size::new(picture.width, picture.height).ok_or("an odd size")?;
        let [y, u, v] = picture.data;
        let [luma, chroma, _] = picture.strides;
        let planes = [(y, luma), (u, chroma), (v, chroma)];
        let mut view = View::new(&pixfmt::YUV420, size, planes)?;
        for next in &mut self.between {
            convert(&mut self.engine, &view, next)?;
            let stride = next.size().width() as usize;
            view = View::contiguous(&pixfmt::NV12, next.size(), next.bytes(), stride)?;
        }
        while !self.sink.has_room() {
            std::thread::yield_now();
        }
        let mut frame = self.sink.take_frame(&pixfmt::NV12, self.size);
        convert(&mut self.engine, &view, &mut frame)?;
        self.sink.show(frame);
        Ok(())
    }
}

fn convert(engine: &mut Converter, from: &View<'_>, to: &mut Frame) -> Result<(), Box<dyn Error>> {
    let size = to.size();
    let stride = size.width() as usize;
    let mut made = ViewMut::contiguous(&pixfmt::NV12, size, to.bytes_mut(), stride)?;
    let job = Job::whole(from.size(), size, Color::default());
    Ok(engine.run(&job, from, &mut made)?)
}
