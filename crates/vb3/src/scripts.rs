//! `vb3 scripts`, and scripts by the names that users give them.

use crate::machines;
use anyhow::{Context as _, Result, anyhow, bail};
use std::io::Write;
use std::path::Path;
use vb3_devices::spec::did_you_mean;
use vb3_world::script::{MAX_FILE, SHIPPED, Script};

/// The text of a script: one that ships by its name, or a file.
///
/// # Errors
/// There is neither; the sentence names what there is.
pub(crate) fn text(script: &str) -> Result<String> {
    if let Some((_, text)) = SHIPPED.iter().find(|(name, _)| *name == script) {
        return Ok((*text).to_owned());
    }
    let path = Path::new(script);
    let looks_like_a_file = script.contains('/') || script.ends_with(".toml");
    if !looks_like_a_file && !path.is_file() {
        let guess = did_you_mean(script, SHIPPED.iter().map(|(name, _)| *name));
        bail!(
            "there is no script \"{script}\"{guess} `vb3 scripts` lists them; a TOML file is one, too"
        );
    }
    machines::read_at_most(path, MAX_FILE).with_context(|| format!("cannot read {script}"))
}

/// The file of a script: `NAME.toml` for one that ships.
#[must_use]
pub(crate) fn file_name(script: &str) -> String {
    match SHIPPED.iter().any(|(name, _)| *name == script) {
        true => format!("{script}.toml"),
        false => script.to_owned(),
    }
}

/// Parses a script, which the user calls `name`.
///
/// # Errors
/// The text is wrong; the sentence names the line.
pub(crate) fn parse(name: &str, text: &str) -> Result<Script> {
    Script::parse(text).map_err(|e| {
        let said = machines::cut(&e.to_string());
        anyhow!("{name}:{said}")
    })
}

/// Prints the scripts that ship, or one of them.
///
/// # Errors
/// There is no such script, or `out` cannot be written.
pub fn print(name: Option<&str>, out: &mut dyn Write) -> Result<()> {
    if let Some(name) = name {
        return Ok(out.write_all(text(name)?.as_bytes())?);
    }
    for (name, text) in SHIPPED {
        let script = parse(&file_name(name), text)?;
        writeln!(out, "{name:<18} {}", script.description)?;
    }
    writeln!(
        out,
        "\n`vb3 run --script NAME -- PROGRAM` plays one; `vb3 scripts NAME > mine.toml` is one to \
         change."
    )?;
    Ok(())
}
