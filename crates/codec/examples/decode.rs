//! Decodes a byte stream: `decode FILE [process|thread|library|PROGRAM] [OUT] [KIND]`; prints
//! pictures and time. PROGRAM is a `vb3-codec`, KIND one that it has (default h264dec). `library` calls openh264 in this process, for comparison. With one slice in a picture.

use std::io::Write as _;
use std::time::Instant;
use vb3_codec::{Config, Event, Framing, Job, Kind, Launch, Refused, Worker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        std::process::exit(i32::from(
            vb3_codec::serve_stdin() != std::process::ExitCode::SUCCESS,
        ));
    }
    let stream = std::fs::read(&args[0])?;
    if args.get(1).is_some_and(|how| how == "library") {
        return library(&stream);
    }
    let launch = match args.get(1).map(String::as_str) {
        Some("thread") => Launch::in_thread(),
        Some(program) if program != "process" => Launch::other_program(program),
        _ => Launch::program("/proc/self/exe", [""; 0]),
    };
    let mut out = args.get(2).map(std::fs::File::create).transpose()?;
    let kind = args.get(3).map_or("h264dec", String::as_str);
    let kind = Kind::from_word(kind).ok_or("KIND is a word of `vb3 devices`")?;
    let mut worker = Worker::spawn(kind, &launch)?;
    worker.submit(Job::Configure(Config::Decoder(Framing::Stream)))?;
    let start = Instant::now();
    let mut pictures = 0u64;
    let mut pieces = stream.chunks(16 << 10);
    let mut piece = pieces.next();
    let mut bytes = vec![0u8; 0];
    loop {
        match piece.map(|data| worker.submit(Job::Decode { tag: 0, data })) {
            Some(Ok(())) => {
                piece = pieces.next();
                if piece.is_none() {
                    worker.submit(Job::Drain)?;
                }
                continue;
            }
            Some(Err(Refused::Full(_))) | None => {}
            Some(Err(e)) => return Err(e.into()),
        }
        let fd = worker.wake_fd();
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(
                &fd,
                rustix::event::PollFlags::IN,
            )],
            None,
        )?;
        let mut drained = false;
        while let Some(event) = worker.poll() {
            match event {
                Event::Format(_) => worker.submit(Job::Proceed(vb3_codec::Chroma::Planar))?,
                Event::Picture { picture, .. } => {
                    pictures += 1;
                    let planes = picture.planes();
                    bytes.clear();
                    for plane in planes.data {
                        bytes.extend_from_slice(plane);
                    }
                    if let Some(out) = &mut out {
                        out.write_all(&bytes)?;
                    }
                }
                Event::Drained => drained = true,
                Event::Consumed { .. } => {}
                other => println!("{other:?}"),
            }
        }
        if drained {
            break;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{pictures} pictures in {seconds:.3} s");
    Ok(())
}

/// The library alone; each picture is copied once, as a worker's host does.
fn library(stream: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    use openh264::decoder::{DecodeOptions, DecodedYUV, Decoder, Flush};
    use openh264::formats::YUVSource as _;
    let mut decoder = Decoder::new()?;
    let mut bytes = Vec::new();
    let mut pictures = 0u64;
    let mut take = |picture: &DecodedYUV<'_>| {
        pictures += 1;
        bytes.clear();
        let (width, height) = picture.dimensions();
        let (luma, chroma, _) = picture.strides();
        let planes = [
            (picture.y(), luma, width),
            (picture.u(), chroma, width / 2),
            (picture.v(), chroma, width / 2),
        ];
        for (data, stride, columns) in planes {
            for row in data.chunks(stride).take(height) {
                bytes.extend_from_slice(&row[..columns]);
            }
        }
    };
    let start = Instant::now();
    for nal in openh264::nal_units(stream) {
        let options = DecodeOptions::new().flush_after_decode(Flush::NoFlush);
        if let Some(picture) = decoder.decode_with_options(nal, options)? {
            take(&picture);
        }
    }
    for picture in decoder.flush_remaining()? {
        take(&picture);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{pictures} pictures in {seconds:.3} s");
    Ok(())
}
