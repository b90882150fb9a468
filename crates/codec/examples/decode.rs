//! Decodes an H.264 byte stream: `decode FILE [process|thread] [OUT]`; prints pictures and time.

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
    let launch = match args.get(1).map(String::as_str) {
        Some("thread") => Launch::in_thread(),
        _ => Launch::program("/proc/self/exe", [""; 0]),
    };
    let mut out = args.get(2).map(std::fs::File::create).transpose()?;
    let mut worker = Worker::spawn(Kind::H264Decoder, &launch)?;
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
                Event::Format(_) => worker.submit(Job::Proceed)?,
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
