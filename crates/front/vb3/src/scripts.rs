//! `vb3 scripts`, and finding scripts by name.

use crate::machines::{self, VERSION};
use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use vb3_devices::spec::did_you_mean;
use vb3_run::script::{MAX_FILE, SHIPPED, Script};

/// Returns the text of a script: a shipped one by name, or a file.
///
/// # Errors
/// There is no such script. The message suggests the nearest name.
pub(crate) fn text(script: &str) -> Result<String> {
    if let Some((_, text)) = SHIPPED.iter().find(|(name, _)| *name == script) {
        return Ok((*text).to_owned());
    }
    let path = Path::new(script);
    let looks_like_a_file = script.contains('/') || script.ends_with(".toml");
    if !looks_like_a_file && !path.is_file() {
        let guess = did_you_mean(script, SHIPPED.iter().map(|(name, _)| *name));
        bail!(
            "there is no script \"{script}\"{guess} `vb3 scripts` lists all; a script may also be \
            a TOML file"
        );
    }
    machines::read_at_most(path, MAX_FILE).with_context(|| format!("cannot read {script}"))
}

/// Returns the file name of a script: `NAME.toml` for a shipped one.
#[must_use]
pub(crate) fn file_name(script: &str) -> String {
    match SHIPPED.iter().any(|(name, _)| *name == script) {
        true => format!("{script}.toml"),
        false => script.to_owned(),
    }
}

/// Parses a script. `name` is the script as the user named it.
///
/// # Errors
/// The text is invalid. The message names the line.
pub(crate) fn parse(name: &str, text: &str) -> Result<Script> {
    Script::parse(text).map_err(|e| {
        let said = machines::cut(&e.to_string());
        anyhow!("{name}:{said}")
    })
}

/// Prints the list of built-in scripts, or the text of one script.
///
/// # Errors
/// The script is unknown, or `out` cannot be written.
pub fn print((name, is_json): (Option<&str>, bool), out: &mut dyn Write) -> Result<()> {
    if let Some(name) = name {
        return Ok(out.write_all(text(name)?.as_bytes())?);
    }
    if is_json {
        let scripts = SHIPPED.iter().map(|(name, text)| {
            let script = parse(&file_name(name), text)?;
            Ok(json!({ "name": name, "description": script.description, "toml": text }))
        });
        let scripts = scripts.collect::<Result<Vec<_>>>()?;
        return machines::print_json(&json!({ "version": VERSION, "scripts": scripts }), out);
    }
    for (name, text) in SHIPPED {
        let script = parse(&file_name(name), text)?;
        writeln!(out, "{name:<18} {}", script.description)?;
    }
    writeln!(
        out,
        "\n`vb3 run --script NAME -- PROGRAM` plays a script. `vb3 scripts NAME > mine.toml` copies \
        one to edit."
    )?;
    Ok(())
}
