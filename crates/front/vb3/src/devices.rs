//! `vb3 devices`: lists the kinds of devices, or the options of one kind.

use crate::doctor::INSTALL_CODEC;
use crate::machines::{VERSION, print_json};
use anyhow::{Error, Result, anyhow};
use serde_json::{Value, json};
use std::io::Write;
use vb3_devices::KINDS;
use vb3_devices::description::{Description, SHIPPED};
use vb3_devices::spec::{DeviceSpec, Group, OPTIONS, did_you_mean};

/// Prints the kinds of device, or the options of one kind.
///
/// # Errors
/// The kind is unknown, or `out` cannot be written.
pub fn print((kind, is_json): (Option<&str>, bool), out: &mut dyn Write) -> Result<()> {
    match kind {
        kind if is_json => print_json(&json_of(kind)?, out),
        Some(kind) => print_options(kind, out),
        None => print_kinds(out),
    }
}

/// Returns all kinds of devices, or one, with their options.
fn json_of(kind: Option<&str>) -> Result<Value> {
    let known = KINDS
        .iter()
        .filter(|known| kind.is_none_or(|kind| known.name == kind));
    let devices = known.map(|known| {
        let device: DeviceSpec = known.name.parse()?;
        let formats = device.format_names();
        let options = OPTIONS.iter().filter(|option| option.is_of(&device.kind));
        let options = options.map(|option| {
            let values = match option.name {
                "format" => &formats,
                _ => option.values,
            };
            json!({
                "name": option.name,
                "group": option.group.title(),
                "values": values,
                "meaning": option.meaning,
            })
        });
        Ok(json!({
            "name": known.name,
            "values": known.values,
            "meaning": known.meaning,
            "options": options.collect::<Vec<_>>(),
        }))
    });
    let devices = devices.collect::<Result<Vec<_>>>()?;
    match (kind, devices.is_empty()) {
        (Some(kind), true) => Err(unknown(kind)),
        _ => Ok(json!({ "version": VERSION, "devices": devices })),
    }
}

fn unknown(kind: &str) -> Error {
    let guess = did_you_mean(kind, KINDS.iter().map(|known| known.name));
    anyhow!("there is no device \"{kind}\"{guess} `vb3 devices` lists all devices")
}

fn print_kinds(out: &mut dyn Write) -> Result<()> {
    writeln!(
        out,
        "A device is a name, and options after commas (\\, is a comma in a file's name):"
    )?;
    writeln!(
        out,
        "  --device camera=clip.mp4,size=1280x720,fps=30 --device display=frames/%04d.png"
    )?;
    writeln!(
        out,
        "\nDevices (`vb3 devices NAME` lists the options of one):"
    )?;
    let codecs = crate::codecs::all();
    for known in KINDS.iter() {
        let value = match known.values {
            "" => String::new(),
            values => format!(" (={values})"),
        };
        writeln!(out, "  {:<18} {}{value}", known.name, known.meaning)?;
        match vb3_codec::Kind::from_word(known.name).map(|kind| codecs.describe(kind)) {
            Some(Ok(library)) => writeln!(out, "  {:<18} by {library}", "")?,
            // What to install is printed once, at the end.
            Some(Err(_)) if codecs.other().is_err() => {
                writeln!(out, "  {:<18} not available: needs vb3-codec", "")?;
            }
            Some(Err(why)) => writeln!(out, "  {:<18} not available: {why}", "")?,
            None => {}
        }
    }
    writeln!(out, "\nReal cameras (--device camera,like=NAME):")?;
    for (name, _) in SHIPPED {
        let like = Description::load(name).map_err(anyhow::Error::msg)?;
        writeln!(out, "    {name:<16} {}", like.card())?;
    }
    if let Err(why) = codecs.other() {
        writeln!(out, "\nFor codecs, {INSTALL_CODEC} ({why}).")?;
    }
    Ok(())
}

fn print_options(kind: &str, out: &mut dyn Write) -> Result<()> {
    let Some(known) = KINDS.iter().find(|known| known.name == kind) else {
        return Err(unknown(kind));
    };
    let device: DeviceSpec = kind.parse()?;
    let formats = device.format_names();
    let value = match known.values {
        "" => String::new(),
        values => format!("={values}"),
    };
    writeln!(out, "{kind}{value}\n  {}", known.meaning)?;
    for group in Group::ALL {
        let own = OPTIONS.iter();
        let own = own.filter(|option| option.group == group && option.is_of(&device.kind));
        writeln!(out, "\n{}:", group.title())?;
        for option in own {
            let values = match option.name {
                "format" => &formats,
                _ => option.values,
            };
            writeln!(out, "  {}={values}\n      {}", option.name, option.meaning)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(kind: Option<&str>) -> Result<String> {
        let mut out = Vec::new();
        print((kind, false), &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn each_kind_lists_its_own_options() {
        let all = printed(None).unwrap();
        for known in KINDS.iter() {
            assert!(all.contains(known.name), "{}", known.name);
            let one = printed(Some(known.name)).unwrap();
            assert!(one.contains("Memory limits:"), "{one}");
            // Programs set the formats and rates of a media graph, so these devices have no options for them.
            let graph = matches!(known.name, "vimc" | "sensor");
            let card = known.name == "kms";
            assert_eq!(one.contains("\n  format="), !graph && !card, "{one}");
            for option in ["size=", "fps=", "pace=", "stride="] {
                assert_eq!(one.contains(&format!("\n  {option}")), !graph, "{one}");
            }
            assert!(!one.contains("format=YUYV, MJPEG, NV12, NV12M"), "{one}");
            let sizes = matches!(known.name, "camera" | "capture-convert" | "kms");
            assert_eq!(one.contains("sizes="), sizes, "{one}");
        }
    }

    #[test]
    fn json_has_a_version_and_each_kinds_options() {
        let all = json_of(None).unwrap();
        assert_eq!(all["version"], VERSION);
        assert_eq!(all["devices"].as_array().map(Vec::len), Some(KINDS.len()));
        let one = json_of(Some("camera")).unwrap();
        let options = one["devices"][0]["options"].as_array().unwrap();
        assert!(options.iter().any(|option| option["name"] == "size"));
        assert!(json_of(Some("camra")).is_err());
    }

    #[test]
    fn an_unknown_kind_gets_a_guess() {
        let e = printed(Some("camra")).unwrap_err().to_string();
        assert!(e.contains("did you mean camera?"), "{e}");
    }
}
