//! Answers of a run to orders, which are the commands of the control protocol.

use crate::Error;
use serde_json::Value;

/// The answer to the order `state`: the time and the devices of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// Version of the protocol.
    pub version: u64,
    /// The devices' time in nanoseconds.
    pub time_ns: u64,
    /// The devices of the run.
    pub devices: Vec<Device>,
}

/// A device of a run, as an answer lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// The device's path, such as `/dev/video0`.
    pub path: String,
    /// The device's kind, such as `camera`.
    pub kind: String,
    /// Whether the device is plugged in.
    pub is_plugged: bool,
    /// Number of frames that the device has finished.
    pub frames: u64,
}

/// A description of the picture that a display showed last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shown {
    /// The picture's number in its stream.
    pub sequence: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in lines.
    pub height: u32,
    /// The pixel format, as four characters.
    pub format: String,
    /// CRC-32 of the picture's bytes, as eight hexadecimal digits.
    pub checksum: String,
}

impl State {
    pub(crate) fn read(answer: &Value) -> Result<Self, Error> {
        let devices = answer.get("devices").and_then(Value::as_array);
        let devices = devices.into_iter().flatten().map(|device| {
            Ok(Device {
                path: text(device, "path")?,
                kind: text(device, "kind")?,
                is_plugged: device.get("plugged") == Some(&Value::Bool(true)),
                frames: number(device, "frames")?,
            })
        });
        Ok(Self {
            version: number(answer, "version")?,
            time_ns: number(answer, "time_ns")?,
            devices: devices.collect::<Result<_, Error>>()?,
        })
    }
}

impl Shown {
    pub(crate) fn read(answer: &Value) -> Result<Self, Error> {
        let short = |name: &str| {
            let number = number(answer, name)?;
            u32::try_from(number).map_err(|_| Error::Answer(answer.to_string()))
        };
        Ok(Self {
            sequence: short("sequence")?,
            width: short("width")?,
            height: short("height")?,
            format: text(answer, "format")?,
            checksum: text(answer, "checksum")?,
        })
    }
}

pub(crate) fn text(object: &Value, name: &str) -> Result<String, Error> {
    let text = object.get(name).and_then(Value::as_str);
    let text = text.map(str::to_owned);
    text.ok_or_else(|| Error::Answer(object.to_string()))
}

pub(crate) fn number(object: &Value, name: &str) -> Result<u64, Error> {
    let number = object.get(name).and_then(Value::as_u64);
    number.ok_or_else(|| Error::Answer(object.to_string()))
}
