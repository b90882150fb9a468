//! Determines the properties of a clip by ffprobe, before the clip plays.

use super::tool::{PICTURE_TIMEOUT, Tool, reason};
use crate::Failure;
use crate::limits::{INTERVALS, nearest_interval};
use crate::text::pair;
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::Command;
use vb3_picture::{HEIGHT_MAX, Size, WIDTH_MAX};
use vb3_v4l2::Fraction;

/// The size and rate of a clip, as a camera offers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClipInfo {
    /// Displayed size (after rotation), halved until it is at most the cameras' maximum, in even numbers.
    pub(crate) size: Size,
    /// Seconds per frame, from 1/120 to 1; 1/30 for a still picture.
    pub(crate) interval: Fraction,
    /// Whether the file is one picture (PNG, JPEG) without a rate.
    pub(crate) still: bool,
}

/// Maximum length of ffprobe's answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// End of messages to users who named another kind of file.
const PLAYS: &str = "camera= plays a local video or picture file";

/// Options that keep ffmpeg from following a playlist to the network.
pub(super) const LOCAL: [&str; 2] = ["-protocol_whitelist", "file"];

/// Asks ffprobe about the first video stream of a file.
pub(super) fn probe(path: &Path) -> Result<ClipInfo, Failure> {
    check_file(path)?;
    let name = path.display();
    let mut command = Command::new("ffprobe");
    command
        .args(["-v", "error", "-select_streams", "v:0"])
        .args(["-show_streams", "-show_format", "-of", "json"])
        .args(LOCAL)
        .arg(input(path));
    let mut tool = Tool::start("ffprobe", &mut command, PICTURE_TIMEOUT)?;
    let mut answer = vec![0; ANSWER_MAX];
    let filled = tool.fill(&mut answer, None);
    let ended = filled.and_then(|len| Ok((len, tool.end(None)?)));
    let (len, (status, said)) =
        ended.map_err(|stop| Failure::new(format!("cannot play {name}: {stop}; {PLAYS}")))?;
    answer.truncate(len);
    if !status.success() {
        let reason = reason(&said, &status).replace(&format!("file:{name}: "), "");
        return Err(Failure::new(format!(
            "ffmpeg finds no video in {name} ({reason}): it is cut off or no video; {PLAYS}"
        )));
    }
    parse(&answer).ok_or_else(|| {
        Failure::new(format!(
            "ffmpeg finds no video in {name}: it holds other things; {PLAYS}"
        ))
    })
}

/// Returns the name by which ffmpeg opens a local file, whatever characters the path has.
pub(super) fn input(path: &Path) -> OsString {
    let mut input = OsString::from("file:");
    input.push(path);
    input
}

/// Refuses anything but a readable file with contents, before a tool opens it.
fn check_file(path: &Path) -> Result<(), Failure> {
    let name = path.display();
    let refuse = |what: &str| Err(Failure::new(format!("{name} {what}; {PLAYS}")));
    // Checks the kind before opening, because opening a named pipe would wait for a writer.
    let found = std::fs::metadata(path);
    let opened = found.and_then(|found| match found.is_file() {
        true => File::open(path).map(|_| found),
        false => Ok(found),
    });
    let metadata = match opened {
        Ok(metadata) => metadata,
        Err(_) if is_address(path) => {
            return Err(Failure::new(format!(
                "{name} is an address, and {PLAYS} only; download it first, with \"curl -LO \
                 ADDRESS\" or \"ffmpeg -i ADDRESS -t 60 -c copy clip.mkv\", and give that file"
            )));
        }
        Err(e) => {
            return Err(Failure::new(format!(
                "cannot read {name}: {e}; check the path, or use a test pattern (camera=pattern, hdmi=pattern)"
            )));
        }
    };
    let kind = metadata.file_type();
    refuse(match metadata.len() {
        1.. if kind.is_file() => return Ok(()),
        0 if kind.is_file() => "is empty",
        _ if kind.is_dir() => "is a directory",
        _ if kind.is_fifo() => "is a named pipe",
        _ if kind.is_socket() => "is a socket",
        _ => "is a device",
    })
}

/// Returns whether a name begins with a scheme, such as `https://`.
fn is_address(path: &Path) -> bool {
    let name = path.as_os_str().to_string_lossy();
    let scheme = name.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        !scheme.is_empty() && scheme.chars().all(is_word)
    })
}

fn parse(json: &[u8]) -> Option<ClipInfo> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let stream = value.get("streams")?.get(0)?;
    let format = value.pointer("/format/format_name").and_then(Value::as_str);
    if format == Some("tty") {
        // The file is text, which ffmpeg would render as a terminal does.
        return None;
    }
    // Each picture format has a demuxer of its own, such as "png_pipe".
    let still = format.is_some_and(|name| name == "image2" || name.ends_with("_pipe"));
    let measure = |key: &str| {
        stream
            .get(key)?
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
    };
    let (mut width, mut height) = (measure("width")?, measure("height")?);
    if width == 0 || height == 0 {
        return None;
    }
    let turned = stream
        .get("side_data_list")
        .and_then(Value::as_array)
        .and_then(|list| list.iter().find_map(|data| data.get("rotation")?.as_f64()))
        .is_some_and(|degrees| degrees.abs() % 180.0 > 45.0);
    if turned {
        (width, height) = (height, width);
    }
    while width > WIDTH_MAX || height > HEIGHT_MAX {
        (width, height) = (width / 2, height / 2);
    }
    let rate = |key: &str| parse_rate(stream.get(key)?.as_str()?);
    let interval = match still {
        true => None,
        false => rate("avg_frame_rate").or_else(|| rate("r_frame_rate")),
    };
    Some(ClipInfo {
        size: Size::nearest(width, height),
        interval: interval.unwrap_or(Fraction::new(1, 30)),
        still,
    })
}

/// Parses a rate such as `30000/1001`. Returns seconds per frame, within the cameras' limits.
fn parse_rate(text: &str) -> Option<Fraction> {
    let (frames, seconds) = pair(text, '/')?;
    let is_rate = frames > 0 && seconds > 0;
    nearest_interval(INTERVALS, Fraction::new(seconds, frames)).filter(|_| is_rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_made_to_fit() {
        let clip = |width, height, rate: &str, more: &str| {
            let json = format!(
                r#"{{"streams":[{{"width":{width},"height":{height},"avg_frame_rate":"{rate}"{more}}}]}}"#
            );
            parse(json.as_bytes()).map(|info| {
                let interval = info.interval;
                let size = (info.size.width(), info.size.height());
                (size, (interval.numerator, interval.denominator))
            })
        };
        assert_eq!(clip(1280, 720, "25/1", ""), Some(((1280, 720), (1, 25))));
        assert_eq!(
            clip(1281, 721, "30000/1001", ""),
            Some(((1280, 720), (1001, 30_000)))
        );
        assert_eq!(
            clip(7680, 4320, "240/1", ""),
            Some(((3840, 2160), (1, 120)))
        );
        for (sent, made) in [
            ((8000, 600), (4000, 300)),
            ((600, 4000), (300, 2000)),
            ((4096, 2304), (4096, 2304)),
        ] {
            assert_eq!(clip(sent.0, sent.1, "24/1", ""), Some((made, (1, 24))));
        }
        assert_eq!(clip(640, 480, "0/0", ""), Some(((640, 480), (1, 30))));
        assert_eq!(clip(640, 480, "1/3", ""), Some(((640, 480), (1, 1))));
        let turned = r#","side_data_list":[{"rotation":-90}]"#;
        assert_eq!(
            clip(1920, 1080, "24/1", turned),
            Some(((1080, 1920), (1, 24)))
        );
        assert_eq!(clip(0, 480, "24/1", ""), None);
        assert_eq!(clip(1, 1, "24/1", ""), Some(((2, 2), (1, 24))));
        assert_eq!(parse(b"{}"), None);
        assert_eq!(parse(b"not json"), None);
    }

    #[test]
    fn a_still_picture_has_30_frames_a_second() {
        for (format, still) in [
            ("png_pipe", true),
            ("jpeg_pipe", true),
            ("image2", true),
            ("gif", false),
            ("mjpeg", false),
        ] {
            let json = format!(
                r#"{{"streams":[{{"width":64,"height":48,"avg_frame_rate":"25/1"}}],
                "format":{{"format_name":"{format}"}}}}"#
            );
            let info = parse(json.as_bytes()).expect("a clip");
            let rate = if still { 30 } else { 25 };
            let found = (info.still, info.interval);
            assert_eq!(found, (still, Fraction::new(1, rate)), "{format}");
        }
        let text = r#"{"streams":[{"width":640,"height":400}],"format":{"format_name":"tty"}}"#;
        assert_eq!(parse(text.as_bytes()), None);
    }

    #[test]
    fn addresses_have_a_scheme() {
        for (name, is) in [
            ("https://host/clip.mp4", true),
            ("rtsp://10.0.0.1:554/cam", true),
            ("clip.mp4", false),
            ("a b://x", false),
            ("://x", false),
        ] {
            assert_eq!(is_address(Path::new(name)), is, "{name}");
        }
    }
}
