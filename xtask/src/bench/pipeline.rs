//! Compares two ways to show a stream: a pipeline of decoder, converter and display by dma-buf, and
//! direct calls of their libraries. Both run alternately, on the same stream, and show the same pictures.

use super::{Vb3, client, nanoseconds, spread, time, verdict};
use crate::sh::{self, cmd};
use crate::table::{self, Table};
use crate::{demo, docs, setup};
use anyhow::{Result, ensure};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SHOWN: &str = "640x360";
/// Size of the pictures between two converters.
const BETWEEN: &str = "960x540";
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) save: docs::Save,
    /// Count system calls, switches, wake-ups, page faults and copies per frame instead, with perf
    #[arg(long, conflicts_with_all = ["runs", "save"])]
    pub(super) count: bool,
    /// Number of rounds; each round runs everything once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
}

/// A stream to show, as a file in a container for GStreamer, and as a bare stream.
pub(super) struct Stream {
    size: &'static str,
    mp4: PathBuf,
    bare: PathBuf,
}

pub(super) struct Tools {
    pub(super) vb3: Vb3,
    client: PathBuf,
    libraries: PathBuf,
}

/// Two commands that run alternately. The table shows the cost of `this` divided by the cost of `over`.
struct Pair {
    /// The table's name for the ratio.
    what: String,
    /// The largest ratio that the project accepts; `None` for a ratio that is only shown.
    aim: Option<f64>,
    this: Command,
    over: Command,
    /// Nanoseconds of both commands in each round.
    costs: Vec<[u64; 2]>,
}

fn pair(what: impl Into<String>, aim: Option<f64>, this: Command, over: Command) -> Pair {
    Pair {
        what: what.into(),
        aim,
        this,
        over,
        costs: Vec::new(),
    }
}

pub(super) fn run(args: &Args) -> Result<Table> {
    let (tools, streams) = prepare()?;
    for stream in &streams {
        tools.compare_pictures(stream)?;
    }
    let mut pairs = tools.pairs(&streams);
    let all = u64::from(args.runs) * pairs.len() as u64;
    let bar = indicatif::ProgressBar::new(all).with_message("measuring");
    for _ in 0..args.runs {
        for pair in &mut pairs {
            let this = measure(&mut pair.this)?;
            let over = measure(&mut pair.over)?;
            pair.costs.push([this, over]);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(table(args.runs, &pairs))
}

/// Builds the programs and makes the streams, of 1080 and 720 lines.
pub(super) fn prepare() -> Result<(Tools, [Stream; 2])> {
    setup::install(&["demo"])?;
    // `vb3-codec`, and the program that calls the libraries directly: both decode with the installed libavcodec.
    sh::run(sh::cargo(
        "build --release --quiet -p vb3 -p vb3-devices --bins --example pipeline",
    ))?;
    let tools = Tools {
        vb3: Vb3::new(&[])?,
        client: client("pipeline")?,
        libraries: sh::target().join("release/examples/pipeline"),
    };
    Ok((tools, [stream("1920x1080", "1")?, stream("1280x720", "3")?]))
}

/// Returns the clip, scaled to a size, and repeated `again` more times, so that the time of a program's start
/// matters little. Makes the files only if they do not exist yet.
fn stream(size: &'static str, again: &str) -> Result<Stream> {
    let mp4 = sh::cache("")?.join(format!("pipeline-p-{size}.mp4"));
    let (bare, clip) = (mp4.with_extension("h264"), demo::clip()?);
    let scale = format!("scale={}", size.replace('x', ":"));
    make(&mp4, cmd!(
        "ffmpeg -nostdin -v error -y -stream_loop {again} -i {clip} -an -vf {scale} -c:v libx264 -preset medium
             -bf 0 -crf 23 -f mp4"
    ))?;
    let copy = cmd!("ffmpeg -nostdin -v error -y -i {mp4} -c copy -bsf:v h264_mp4toannexb -f h264");
    make(&bare, copy)?;
    Ok(Stream { size, mp4, bare })
}

/// Runs an ffmpeg command that makes a file, unless the file exists.
fn make(path: &Path, mut ffmpeg: Command) -> Result<()> {
    if !path.exists() {
        eprintln!("making {}", path.display());
        let part = path.with_extension(format!("part-{}", std::process::id()));
        sh::quietly(ffmpeg.arg(&part))?;
        // Both paths are in one file system, so a reader sees the whole file or none.
        fs::rename(&part, path)?;
    }
    Ok(())
}

impl Tools {
    /// Returns `vb3 run` with a decoder, a converter and a display. The caller appends the program.
    fn devices(&self, sink: &str) -> Command {
        let display = format!("display={sink},mplane=on,pace=free");
        let mut run = self.vb3.with(&["h264dec", "convert", &display]);
        run.env("VB3_CODEC", self.codec());
        run
    }

    /// Returns the path of `vb3-codec`. It decodes with the same libavcodec as the program that calls the libraries
    /// directly.
    fn codec(&self) -> PathBuf {
        self.vb3.program.with_file_name("vb3-codec")
    }

    /// Returns the command of the small client program with one converter. The display drops the pictures.
    pub(super) fn small_program(&self, stream: &Stream) -> Command {
        self.client(stream, "null", &[SHOWN])
    }

    fn client(&self, stream: &Stream, sink: &str, sizes: &[&str]) -> Command {
        let mut run = self.devices(sink);
        run.arg(&self.client).arg(&stream.bare).args(sizes);
        run
    }

    pub(super) fn gstreamer(&self, stream: &Stream) -> Command {
        let (width, height) = SHOWN.split_once('x').unwrap_or_default();
        let line = format!(
            "gst-launch-1.0 -q filesrc location={} ! qtdemux ! h264parse \
             ! v4l2h264dec capture-io-mode=dmabuf \
             ! v4l2convert output-io-mode=dmabuf-import capture-io-mode=dmabuf \
             ! video/x-raw,format=NV12,width={width},height={height} \
             ! v4l2sink device=/dev/video2 io-mode=dmabuf-import sync=false",
            stream.mp4.display()
        );
        let mut run = self.devices("null");
        run.args(line.split_whitespace());
        run
    }

    fn libraries(&self, stream: &Stream, sizes: &[&str]) -> Command {
        let (libraries, bare, sizes) = (&self.libraries, &stream.bare, sizes.join(","));
        let mut command = cmd!("{libraries} {bare} {sizes}");
        command.env("VB3_CODEC", self.codec());
        command
    }

    fn compare_pictures(&self, stream: &Stream) -> Result<()> {
        let [devices, libraries] =
            ["devices.raw", "libraries.raw"].map(|name| sh::target().join("bench").join(name));
        let sizes = [BETWEEN, SHOWN];
        sh::quietly(self.libraries(stream, &sizes).arg(&libraries))?;
        sh::quietly(&mut self.client(stream, &devices.display().to_string(), &sizes))?;
        let (shown, wanted) = (fs::read(&devices)?, fs::read(&libraries)?);
        fs::remove_file(devices)?;
        fs::remove_file(libraries)?;
        ensure!(!wanted.is_empty(), "no picture was shown");
        ensure!(shown == wanted, "{}: the pictures differ", stream.size);
        Ok(())
    }

    fn pairs(&self, [large, small]: &[Stream; 2]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (stream, aims) in [(large, [Some(1.05), Some(1.1)]), (small, [None; 2])] {
            let programs = [
                ("a small program", self.small_program(stream)),
                ("GStreamer", self.gstreamer(stream)),
            ];
            for ((program, this), aim) in programs.into_iter().zip(aims) {
                let what = format!("{}, {program}", stream.size);
                pairs.push(pair(what, aim, this, self.libraries(stream, &[SHOWN])));
            }
        }
        let what = format!("two converters ({BETWEEN} between them) / one");
        let two = self.client(large, "null", &[BETWEEN, SHOWN]);
        pairs.push(pair(what, None, two, self.small_program(large)));
        let two = self.libraries(large, &[BETWEEN, SHOWN]);
        let one = self.libraries(large, &[SHOWN]);
        pairs.push(pair("the same, libraries alone", None, two, one));
        pairs
    }
}

/// Runs a command. Returns the CPU time of all its processes, in nanoseconds.
fn measure(command: &mut Command) -> Result<u64> {
    let before = of_children()?;
    sh::quietly(command)?;
    nanoseconds(of_children()? - before)
}

/// Returns the CPU time of all ended processes below this one.
fn of_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses; the 16th and 17th are cutime and cstime.
    let words = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace());
    let times = words.into_iter().flatten().skip(16 - 3).take(2);
    let ticks: u64 = times
        .map(|word| word.parse::<u64>())
        .sum::<Result<_, _>>()?;
    // USER_HZ is 100 on all of Linux's current architectures.
    Ok(Duration::from_millis(ticks * 10))
}

impl Pair {
    /// Returns the spread of the ratios of both commands' costs, one ratio for each round.
    fn ratios(&self) -> [f64; 3] {
        let ratio = |&[this, over]: &[u64; 2]| this as f64 / over.max(1) as f64;
        spread(self.costs.iter().map(ratio).collect(), f64::total_cmp)
    }
}

fn table(runs: u16, pairs: &[Pair]) -> Table {
    println!(
        "{runs} runs in turn, medians; both ways decode by libavcodec and show the same pictures"
    );
    let rows = pairs.iter().map(|pair| {
        let [least, middle, most] = pair.ratios();
        println!("{}:", pair.what);
        for (of, command) in [&pair.this, &pair.over].into_iter().enumerate() {
            let costs = pair.costs.iter().map(|costs| costs[of]);
            let [_, median, _] = spread(costs.collect(), u64::cmp);
            println!("  {}: {}", time(median), sh::shown(command));
        }
        let ratio = format!("{middle:.2} ({least:.2} to {most:.2})");
        table::row([&pair.what, &ratio, &verdict(middle, pair.aim)])
    });
    (table::row(["ratio of", "ratio", "aim"]), rows.collect())
}
