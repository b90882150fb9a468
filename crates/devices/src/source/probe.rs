//! What a clip is before it plays: ffprobe's answer.

use crate::Failure;
use crate::picture::{HEIGHT_MAX, Size, WIDTH_MAX};
use crate::spec::MAX_FPS;
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use vb3_v4l2::Fraction;

/// Size and rate of a clip, as a camera would offer them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipInfo {
    /// Size as shown (after rotation), made even, halved until it is small enough.
    pub size: Size,
    /// Seconds per frame, from 1/120 to 1.
    pub interval: Fraction,
}

/// Asks ffprobe about the first video stream of a file.
pub(super) fn probe(path: &Path) -> Result<ClipInfo, Failure> {
    let name = path.display();
    // Looked at before it is opened: opening a named pipe would wait for its writer.
    let readable = std::fs::metadata(path).and_then(|metadata| {
        let is_file = metadata.is_file();
        if is_file {
            File::open(path)?;
        }
        Ok(is_file)
    });
    match readable {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::new(format!(
                "{name} is no file; a camera plays a video file"
            )));
        }
        Err(e) => {
            return Err(Failure::new(format!(
                "cannot read {name}: {e}; check the path, or use camera=pattern"
            )));
        }
    }
    let mut input = OsString::from("file:");
    input.push(path);
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v:0",
            "-show_streams",
            "-of",
            "json",
        ])
        .arg(input)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| not_started("ffprobe", &e))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "ffmpeg cannot play {name}: {}; choose a video file",
            last_line(&said, &output.status)
        )));
    }
    parse(&output.stdout).ok_or_else(|| {
        Failure::new(format!(
            "{name} holds no video that ffmpeg finds; choose a video file"
        ))
    })
}

/// A sentence for a program that did not start.
pub(super) fn not_started(program: &str, error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::NotFound {
        Failure::new(format!(
            "{program} is not installed, and clips are decoded by it; run \"apt install ffmpeg\", \
             or use camera=pattern"
        ))
    } else {
        Failure::new(format!("cannot start {program}: {error}"))
    }
}

/// The last thing a program said before it failed.
pub(super) fn last_line(said: &str, status: &ExitStatus) -> String {
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map_or_else(|| status.to_string(), str::to_owned)
}

fn parse(json: &[u8]) -> Option<ClipInfo> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let stream = value.get("streams")?.get(0)?;
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
    let interval = rate("avg_frame_rate")
        .or_else(|| rate("r_frame_rate"))
        .unwrap_or(Fraction::new(1, 30));
    Some(ClipInfo {
        size: Size::nearest(width, height),
        interval,
    })
}

/// Seconds per frame of a rate like `30000/1001`; clamped to what cameras offer.
fn parse_rate(text: &str) -> Option<Fraction> {
    let (frames, seconds) = text.split_once('/')?;
    let (frames, seconds): (u32, u32) = (frames.parse().ok()?, seconds.parse().ok()?);
    if frames == 0 || seconds == 0 {
        return None;
    }
    Some(if frames < seconds {
        Fraction::new(1, 1)
    } else if u64::from(frames) > u64::from(MAX_FPS) * u64::from(seconds) {
        Fraction::new(1, MAX_FPS)
    } else {
        Fraction::new(seconds, frames)
    })
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
        assert_eq!(clip(640, 480, "0/0", ""), Some(((640, 480), (1, 30))));
        assert_eq!(clip(640, 480, "1/3", ""), Some(((640, 480), (1, 1))));
        let turned = r#","side_data_list":[{"rotation":-90}]"#;
        assert_eq!(
            clip(1920, 1080, "24/1", turned),
            Some(((1080, 1920), (1, 24)))
        );
        assert_eq!(clip(0, 480, "24/1", ""), None);
        assert_eq!(parse(b"{}"), None);
        assert_eq!(parse(b"not json"), None);
    }
}
