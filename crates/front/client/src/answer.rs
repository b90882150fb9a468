//! Answers of a run to orders, which are the commands of the control protocol.

use crate::Error;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The answer to the order `state`: the time and the devices of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Device {
    /// The device's path, such as `/dev/video0`.
    pub path: String,
    /// The device's kind, such as `camera`.
    pub kind: String,
    /// Whether the device is plugged in.
    #[serde(rename = "plugged", default)]
    pub is_plugged: bool,
    /// Number of frames that the device has finished.
    pub frames: u64,
}

/// The answer to the order `buffers`: the buffers of a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Buffers {
    /// The buffers.
    pub buffers: Vec<Buffer>,
    /// Number of further buffers, for which the answer has no room.
    pub left_out: u64,
}

/// A buffer of a run and its holders.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Buffer {
    /// The number by which [`Client::revoke`](crate::Client::revoke) names the buffer.
    pub id: String,
    /// The device, queue, index and plane of the buffer, or who has left it.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// The address, the runs of pages, `not placed yet` or `revoked`.
    pub place: String,
    /// The holders, such as `its queue` or `/dev/video0, attached`.
    pub holders: Vec<String>,
}

/// A description of the picture that a display showed last.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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

/// Reads an answer or an event. Fields that this version does not know are ignored.
pub(crate) fn read<T: DeserializeOwned>(object: &Value) -> Result<T, Error> {
    T::deserialize(object).map_err(|_| Error::Answer(object.to_string()))
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
