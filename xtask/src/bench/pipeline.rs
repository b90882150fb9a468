//! Compares a pipeline of decoder, converter and display by dma-buf with direct calls of their
//! libraries. Both run alternately, on the same stream, until the same pictures are shown.

use super::{build_client, time, verdict};
use crate::table::Table;
use crate::{clip, setup, sh};
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Size of the display's pictures.
const SHOWN: &str = "640x360";
/// Size of the pictures between two converters.
const BETWEEN: &str = "960x540";
/// Numbers of the decoder's buffers: so few that all mappings are kept, and so many that none is kept.
/// An importer keeps up to 64 mappings that it does not use at the time.
const KEPT: u32 = 48;
const REMAPPED: u32 = 128;
/// Length of a tick of the CPU times in /proc, in nanoseconds. Every program sees 100 ticks per second.
const TICK_NS: u64 = 10_000_000;

/// Arguments of `bench pipeline`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Machine to measure on
    #[arg(long, value_name = "NAME", default_value = "pc")]
    machine: String,
    /// Number of rounds; each round runs everything once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
}

/// A stream to show, as a file in a container for GStreamer, and as a bare stream.
struct Stream {
    size: &'static str,
    mp4: PathBuf,
    bare: PathBuf,
}

/// The measured programs.
struct Tools {
    vb3: PathBuf,
    codec: PathBuf,
    client: PathBuf,
    libraries: PathBuf,
    machine: String,
}

/// CPU time of a run with all its processes, and the elapsed time.
#[derive(Clone, Copy)]
struct Cost {
    cpu_ns: u64,
    wall_ns: u64,
}

/// Two commands that run alternately, and the meaning of the ratio of their costs.
struct Pair {
    what: String,
    by_wall: bool,
    aim: Option<f64>,
    this: Vec<String>,
    over: Vec<String>,
    costs: Vec<(Cost, Cost)>,
}

/// Measures a row for each pair.
///
/// # Errors
/// A part cannot be built or run, or the pictures differ.
pub(crate) fn run(args: &Args) -> Result<Table> {
    setup::install(setup::DEMO)?;
    let built = build()?;
    let tools = Tools {
        vb3: built.join("vb3"),
        codec: built.join("vb3-codec"),
        client: build_client("pipeline")?,
        libraries: built.join("examples/pipeline"),
        machine: args.machine.clone(),
    };
    let streams = [stream("1920x1080", 1)?, stream("1280x720", 3)?];
    for stream in &streams {
        tools.compare_pictures(stream)?;
    }
    let mut pairs = tools.pairs(&streams);
    let all = u64::from(args.runs) * pairs.len() as u64;
    let bar = indicatif::ProgressBar::new(all).with_message("measuring");
    for _ in 0..args.runs {
        for pair in &mut pairs {
            let this = tools.measure(&pair.this)?;
            pair.costs.push((this, tools.measure(&pair.over)?));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(table(args, &pairs))
}

/// Builds `vb3` with the codec program, and the program that calls the libraries directly.
/// Both decode with the installed libavcodec. Returns the directory of the programs.
fn build() -> Result<PathBuf> {
    let mut cargo = sh::cargo();
    cargo.args(["build", "--release", "--quiet", "-p", "vb3", "-p"]);
    cargo.args(["vb3-devices", "--bins", "--example", "pipeline"]);
    sh::quietly(&mut cargo)?;
    Ok(sh::target().join("release"))
}

/// Returns the clip in a size, repeated so that starting matters little. It is made once and kept.
fn stream(size: &'static str, again: u32) -> Result<Stream> {
    let cache = sh::cache()?;
    let stream = Stream {
        size,
        mp4: cache.join(format!("pipeline-p-{size}.mp4")),
        bare: cache.join(format!("pipeline-p-{size}.h264")),
    };
    let clip = clip::fetch()?;
    let again = again.to_string();
    make(&stream.mp4, "mp4", |ffmpeg| {
        ffmpeg.args(["-stream_loop", &again, "-i"]).arg(&clip);
        ffmpeg.args(["-an", "-vf", &format!("scale={}", size.replace('x', ":"))]);
        ffmpeg.args([
            "-c:v", "libx264", "-preset", "medium", "-bf", "0", "-crf", "23",
        ]);
    })?;
    make(&stream.bare, "h264", |ffmpeg| {
        ffmpeg.arg("-i").arg(&stream.mp4);
        ffmpeg.args(["-c", "copy", "-bsf:v", "h264_mp4toannexb"]);
    })?;
    Ok(stream)
}

/// Lets ffmpeg make a file, unless the file exists.
fn make(path: &Path, format: &str, how: impl FnOnce(&mut Command)) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    eprintln!("making {}", path.display());
    let part = path.with_extension(format!("part-{}", std::process::id()));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y"]);
    how(&mut ffmpeg);
    sh::quietly(ffmpeg.args(["-f", format]).arg(&part))?;
    // Both paths are in one file system, so a reader sees the whole file or none.
    std::fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

impl Tools {
    /// Returns `vb3 run` without the program: a decoder with a number of buffers, a converter, a display.
    fn devices(&self, sink: &str) -> Vec<String> {
        let decoder = format!("h264dec,max-buffers={REMAPPED}");
        let display = format!("display={sink},mplane=on,pace=free");
        let vb3 = self.vb3.display().to_string();
        let mut words = vec![vb3, "run".to_owned(), "--machine".to_owned()];
        words.push(self.machine.clone());
        for spec in [decoder.as_str(), "convert", &display] {
            words.extend(["--device".to_owned(), spec.to_owned()]);
        }
        words.push("--".to_owned());
        words
    }

    /// Returns the command of the small client program.
    fn client(&self, stream: &Stream, sink: &str, buffers: u32, sizes: &[&str]) -> Vec<String> {
        let mut words = self.devices(sink);
        words.push(self.client.display().to_string());
        words.push(stream.bare.display().to_string());
        words.push(buffers.to_string());
        words.extend(sizes.iter().map(|size| (*size).to_owned()));
        words
    }

    fn gstreamer(&self, stream: &Stream) -> Vec<String> {
        let (width, height) = SHOWN.split_once('x').unwrap_or_default();
        let line = format!(
            "gst-launch-1.0 -q filesrc location={} ! qtdemux ! h264parse \
             ! v4l2h264dec capture-io-mode=dmabuf \
             ! v4l2convert output-io-mode=dmabuf-import capture-io-mode=dmabuf \
             ! video/x-raw,format=NV12,width={width},height={height} \
             ! v4l2sink device=/dev/video2 io-mode=dmabuf-import sync=false",
            stream.mp4.display()
        );
        let mut words = self.devices("null");
        words.extend(line.split_whitespace().map(str::to_owned));
        words
    }

    fn libraries(&self, stream: &Stream, sizes: &[&str]) -> Vec<String> {
        let program = self.libraries.display().to_string();
        vec![program, stream.bare.display().to_string(), sizes.join(",")]
    }

    /// Checks that both ways show the same pictures.
    fn compare_pictures(&self, stream: &Stream) -> Result<()> {
        let file = |name: &str| sh::target().join("bench").join(name);
        let (devices, libraries) = (file("devices.raw"), file("libraries.raw"));
        let sizes = [BETWEEN, SHOWN];
        let mut words = self.libraries(stream, &sizes);
        words.push(libraries.display().to_string());
        self.measure(&words)?;
        self.measure(&self.client(stream, &devices.display().to_string(), 8, &sizes))?;
        let read = |path: &PathBuf| {
            let bytes = std::fs::read(path).with_context(|| format!("no {}", path.display()));
            let _ = std::fs::remove_file(path);
            bytes
        };
        let (shown, wanted) = (read(&devices)?, read(&libraries)?);
        ensure!(!wanted.is_empty(), "no picture was shown");
        ensure!(shown == wanted, "{}: the pictures differ", stream.size);
        Ok(())
    }

    /// Runs a command and returns its cost.
    fn measure(&self, words: &[String]) -> Result<Cost> {
        let (program, rest) = words.split_first().context("no command")?;
        let (cpu, start) = (children_ns()?, Instant::now());
        let mut command = Command::new(program);
        // `vb3` must decode by the library that the other program calls.
        command.env("VB3_CODEC", &self.codec);
        let out = command.args(rest).stdin(Stdio::null()).output()?;
        let wall = start.elapsed();
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            bail!("{} failed: {}\n{said}", sh::shown(&command), out.status);
        }
        // If the program reports its own time, that is better: it excludes the program's start and end.
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let value = |key| {
            said.lines()
                .find_map(|line| line.strip_prefix(key)?.parse().ok())
        };
        Ok(Cost {
            cpu_ns: children_ns()? - cpu,
            wall_ns: value("wall_ns ")
                .unwrap_or(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX)),
        })
    }

    fn pairs(&self, streams: &[Stream; 2]) -> Vec<Pair> {
        let pair = |what: String, aim, this, over| Pair {
            what,
            by_wall: false,
            aim,
            this,
            over,
            costs: Vec::new(),
        };
        let [large, small] = streams;
        let mut pairs = Vec::new();
        for (stream, aims) in [(large, [Some(1.05), Some(1.1)]), (small, [None; 2])] {
            let libraries = self.libraries(stream, &[SHOWN]);
            let what = |program| format!("{}, {program}", stream.size);
            let [aim, aim_of_gstreamer] = aims;
            pairs.push(pair(
                what("a small program"),
                aim,
                self.client(stream, "null", 8, &[SHOWN]),
                libraries.clone(),
            ));
            pairs.push(pair(
                what("GStreamer"),
                aim_of_gstreamer,
                self.gstreamer(stream),
                libraries,
            ));
        }
        pairs.push(pair(
            format!("two converters ({BETWEEN} between them) / one"),
            None,
            self.client(large, "null", 8, &[BETWEEN, SHOWN]),
            self.client(large, "null", 8, &[SHOWN]),
        ));
        pairs.push(pair(
            "the same, libraries alone".to_owned(),
            None,
            self.libraries(large, &[BETWEEN, SHOWN]),
            self.libraries(large, &[SHOWN]),
        ));
        let mapped = |buffers| self.client(small, "null", buffers, &[SHOWN]);
        for (name, by_wall) in [("time", true), ("CPU", false)] {
            pairs.push(Pair {
                by_wall,
                ..pair(
                    format!(
                        "{}, dma-bufs mapped for each frame / kept mapped, {name}",
                        small.size
                    ),
                    None,
                    mapped(REMAPPED),
                    mapped(KEPT),
                )
            });
        }
        pairs
    }
}

/// Returns the CPU time of all ended processes below this one.
fn children_ns() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(13).take(2).map(str::parse);
    let ticks: Vec<u64> = ticks
        .collect::<Result<_, _>>()
        .context("/proc/self/stat is strange")?;
    Ok(ticks.iter().sum::<u64>() * TICK_NS)
}

/// Returns the smallest value, the middle one, and the largest.
fn spread<T: Copy>(mut values: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> [T; 3] {
    values.sort_by(order);
    let at = |index: usize| values[index.min(values.len() - 1)];
    [at(0), at(values.len() / 2), at(values.len())]
}

impl Pair {
    fn times(&self, of: impl Fn(&(Cost, Cost)) -> Cost) -> u64 {
        let by = |cost: Cost| {
            if self.by_wall {
                cost.wall_ns
            } else {
                cost.cpu_ns
            }
        };
        let [_, middle, _] = spread(self.costs.iter().map(|c| by(of(c))).collect(), u64::cmp);
        middle
    }

    /// Returns the spread of the ratios of runs side by side.
    fn ratios(&self) -> [f64; 3] {
        let ratio = |(this, over): &(Cost, Cost)| match self.by_wall {
            true => this.wall_ns as f64 / over.wall_ns.max(1) as f64,
            false => this.cpu_ns as f64 / over.cpu_ns.max(1) as f64,
        };
        spread(self.costs.iter().map(ratio).collect(), f64::total_cmp)
    }
}

/// Prints the commands, and returns the table.
fn table(args: &Args, pairs: &[Pair]) -> Table {
    println!(
        "machine {}, {} runs in turn, medians; both ways decode by libavcodec and show the same pictures",
        args.machine, args.runs
    );
    let rows = pairs.iter().map(|pair| {
        let [least, middle, most] = pair.ratios();
        let (this, over) = (pair.times(|c| c.0), pair.times(|c| c.1));
        println!("{}:", pair.what);
        println!("  {}: {}", time(this), pair.this.join(" "));
        println!("  {}: {}", time(over), pair.over.join(" "));
        let ratio = format!("{middle:.2} ({least:.2} to {most:.2})");
        vec![pair.what.clone(), ratio, verdict(middle, pair.aim)]
    });
    let rows = rows.collect();
    (vec!["ratio of", "ratio", "aim"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_middle_in_the_middle() {
        assert_eq!(spread(vec![5, 1, 3], u32::cmp), [1, 3, 5]);
        assert_eq!(spread(vec![7], u32::cmp), [7, 7, 7]);
    }

    #[test]
    fn ratios_are_of_runs_side_by_side() {
        let cost = |cpu_ns| Cost {
            cpu_ns,
            wall_ns: 1_000_000_000,
        };
        let pair = Pair {
            what: String::new(),
            by_wall: false,
            aim: None,
            this: Vec::new(),
            over: Vec::new(),
            // In this pair of runs, the machine was half as fast.
            costs: vec![(cost(11), cost(10)), (cost(22), cost(20))],
        };
        assert_eq!(pair.ratios(), [1.1; 3]);
        let pair = Pair {
            by_wall: true,
            ..pair
        };
        assert_eq!(pair.ratios(), [1.0; 3]);
    }

    #[test]
    fn time_of_children_grows() {
        let before = children_ns().unwrap();
        let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        sh::quietly(Command::new("sh").args(["-c", busy])).unwrap();
        assert!(children_ns().unwrap() > before);
    }
}
