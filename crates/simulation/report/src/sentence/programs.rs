//! Options of known programs that apply a remedy.

use crate::report::Remedy;

/// Kind of a device's queue. A program has a separate option for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A camera.
    Camera,
    /// A display.
    Display,
    /// The OUTPUT queue of a codec or converter.
    Input,
    /// The CAPTURE queue of a codec or converter.
    Picture,
}

/// A program's option for each kind of queue, indexed by [`End`].
type Options = [&'static str; 4];

/// A program whose options are known.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Name of the program's file.
    name: &'static str,
    /// Options for devices that allocate buffers and share them.
    shares: Option<Options>,
    /// Options for devices that import another device's buffers.
    imports: Option<Options>,
    /// Options that make each device allocate its own buffers, so that the program copies pictures.
    copies: Option<Options>,
    /// Options whose value is the number of buffers.
    counts: &'static [&'static str],
}

/// The known programs. Sources of their options: `gst-inspect-1.0` 1.22, `v4l2-ctl
/// --help-streaming` 1.22, `ffmpeg -h decoder=h264_v4l2m2m` 5.1.
const PROGRAMS: [Program; 3] = [
    Program {
        name: "gst-launch-1.0",
        shares: Some([
            "io-mode=dmabuf",
            "io-mode=dmabuf",
            "output-io-mode=dmabuf",
            "capture-io-mode=dmabuf",
        ]),
        imports: Some([
            "io-mode=dmabuf-import",
            "io-mode=dmabuf-import",
            "output-io-mode=dmabuf-import",
            "capture-io-mode=dmabuf-import",
        ]),
        copies: Some([
            "io-mode=mmap",
            "io-mode=mmap",
            "output-io-mode=mmap",
            "capture-io-mode=mmap",
        ]),
        counts: &[],
    },
    Program {
        name: "v4l2-ctl",
        shares: Some([
            "--stream-mmap",
            "--stream-out-mmap",
            "--stream-out-mmap",
            "--stream-mmap",
        ]),
        imports: Some([
            "--stream-dmabuf",
            "--stream-out-dmabuf",
            "--stream-out-dmabuf",
            "--stream-dmabuf",
        ]),
        copies: None,
        counts: &["--stream-mmap=", "--stream-out-mmap="],
    },
    Program {
        name: "ffmpeg",
        shares: None,
        imports: None,
        copies: None,
        counts: &["-num_output_buffers ", "-num_capture_buffers "],
    },
];

/// Returns the known programs in a command line, also inside a shell script.
#[must_use]
pub fn known(command: &[String]) -> Vec<&'static Program> {
    let is_between = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')');
    let words: Vec<&str> = command
        .iter()
        .flat_map(|word| word.split(is_between))
        .map(|word| word.rsplit('/').next().unwrap_or(word))
        .collect();
    let named = PROGRAMS.iter();
    named.filter(|row| words.contains(&row.name)).collect()
}

/// Lists, in brackets, the options that make one device allocate for all.
pub(super) fn sharing(programs: &[&Program], remedy: &Remedy) -> String {
    let all: Vec<(End, &str)> = ends(remedy);
    each(programs, |program| {
        let (Some(shares), Some(imports)) = (program.shares, program.imports) else {
            return Some("no option shares buffers".to_owned());
        };
        let say = |&(end, path): &(End, &str)| {
            let options = match path == remedy.exporter {
                true => shares,
                false => imports,
            };
            Some(format!("{} at {path}", options.get(end as usize)?))
        };
        let said: Vec<String> = all.iter().filter_map(say).collect();
        (!said.is_empty()).then(|| said.join(" and "))
    })
}

/// Says, in brackets, that no option of these programs allocates from a heap.
pub(super) fn heaps(programs: &[&Program]) -> String {
    each(programs, |_| Some("no option takes a heap".to_owned()))
}

/// Names, in brackets, the option that makes a program copy pictures to or from a device.
pub(super) fn copying(programs: &[&Program], remedy: &Remedy, device: &str) -> String {
    let end = ends(remedy).into_iter().find(|(_, path)| *path == device);
    each(programs, |program| {
        let (end, path) = end?;
        let option = program.copies?;
        Some(format!("{} at {path}", option.get(end as usize)?))
    })
}

/// Lists, in brackets, the options that request `count` buffers.
pub(super) fn counting(programs: &[&Program], count: u64) -> String {
    each(programs, |program| {
        let options = program.counts.iter();
        let options: Vec<String> = options.map(|option| format!("{option}{count}")).collect();
        (!options.is_empty()).then(|| options.join(" or "))
    })
}

/// Joins each program's part, in brackets. Empty if `say` returns `None` for all.
fn each(programs: &[&Program], say: impl Fn(&Program) -> Option<String>) -> String {
    let said = programs
        .iter()
        .filter_map(|program| Some(format!("{}: {}", program.name, say(program)?)));
    let said: Vec<String> = said.collect();
    match said.is_empty() {
        true => String::new(),
        false => format!(" ({})", said.join("; ")),
    }
}

/// Returns the kind of queue and the node of each device that shares the buffer. A converter uses its
/// OUTPUT queue if another device makes the picture, else its CAPTURE queue.
fn ends(remedy: &Remedy) -> Vec<(End, &str)> {
    let named = remedy.devices.iter().filter_map(|device| {
        let (kind, path) = device.strip_suffix(')')?.rsplit_once(" (")?;
        Some((kind, path))
    });
    let named: Vec<(&str, &str)> = named.collect();
    let is_decoder = |kind: &str| kind.contains("dec");
    let makes =
        |kind: &str| kind.starts_with("camera") || ["capture-convert", "hdmi"].contains(&kind);
    let is_made = named
        .iter()
        .any(|(kind, _)| makes(kind) || is_decoder(kind));
    let end = |kind: &str| match kind {
        kind if makes(kind) => Some(End::Camera),
        kind if kind.starts_with("display") => Some(End::Display),
        kind if is_decoder(kind) => Some(End::Picture),
        kind if kind.ends_with("enc") => Some(End::Input),
        "convert" if is_made => Some(End::Input),
        "convert" => Some(End::Picture),
        _ => None,
    };
    let named = named.into_iter();
    named
        .filter_map(|(kind, path)| Some((end(kind)?, path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &[&str]) -> Vec<String> {
        command.iter().map(|word| (*word).to_owned()).collect()
    }

    fn names(command: &[&str]) -> Vec<&'static str> {
        let found = known(&words(command));
        found.iter().map(|program| program.name).collect()
    }

    #[test]
    fn programs_are_known_by_path_and_in_scripts() {
        assert_eq!(names(&["gst-launch-1.0", "-q"]), ["gst-launch-1.0"]);
        assert_eq!(names(&["/usr/bin/ffmpeg", "-i", "x"]), ["ffmpeg"]);
        let script = "cd x;(v4l2-ctl --all|cat) && /opt/gst-launch-1.0 a ! b";
        assert_eq!(names(&["sh", "-c", script]), ["gst-launch-1.0", "v4l2-ctl"]);
        assert_eq!(names(&["./my-ffmpeg", "v4l2-ctl.log"]), [""; 0]);
    }

    fn remedy(devices: &[&str], exporter: &str) -> Remedy {
        Remedy {
            devices: words(devices),
            exporter: exporter.to_owned(),
            ..Remedy::default()
        }
    }

    #[test]
    fn sharing_is_told_in_the_programs_options() {
        let gst = known(&words(&["gst-launch-1.0"]));
        let shown = remedy(
            &["h264dec (/dev/video0)", "display (/dev/video1)"],
            "/dev/video1",
        );
        assert_eq!(
            sharing(&gst, &shown),
            " (gst-launch-1.0: capture-io-mode=dmabuf-import at /dev/video0 and io-mode=dmabuf at \
             /dev/video1)"
        );
        assert_eq!(
            copying(&gst, &shown, "/dev/video1"),
            " (gst-launch-1.0: io-mode=mmap at /dev/video1)"
        );
        for (devices, said) in [
            (
                ["camera (/dev/video0)", "convert (/dev/video1)"],
                "io-mode=dmabuf-import at /dev/video0 and output-io-mode=dmabuf at /dev/video1",
            ),
            (
                ["convert (/dev/video0)", "h264enc (/dev/video1)"],
                "capture-io-mode=dmabuf-import at /dev/video0 and output-io-mode=dmabuf at \
                 /dev/video1",
            ),
        ] {
            let told = sharing(&gst, &remedy(&devices, "/dev/video1"));
            assert_eq!(told, format!(" (gst-launch-1.0: {said})"));
        }
        let ctl = known(&words(&["v4l2-ctl"]));
        let camera = remedy(
            &["camera (/dev/video0)", "display (/dev/video1)"],
            "/dev/video1",
        );
        assert_eq!(
            sharing(&ctl, &camera),
            " (v4l2-ctl: --stream-dmabuf at /dev/video0 and --stream-out-mmap at /dev/video1)"
        );
        assert_eq!(sharing(&[], &camera), "");
    }

    #[test]
    fn counts_are_told_where_there_is_an_option() {
        let all = known(&words(&["sh", "-c", "gst-launch-1.0; v4l2-ctl; ffmpeg"]));
        assert_eq!(
            counting(&all, 3),
            " (v4l2-ctl: --stream-mmap=3 or --stream-out-mmap=3; ffmpeg: -num_output_buffers 3 or \
             -num_capture_buffers 3)"
        );
        assert_eq!(counting(&all[..1], 3), "");
    }
}
