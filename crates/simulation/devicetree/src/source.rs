//! Compiles the source of a device tree with `dtc`.

use crate::MAX_BYTES;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// `/dts-v1/` must be within this many bytes at the beginning of a source.
const TAG_WITHIN: usize = 4096;
/// Longest time that the compiler may take.
const DTC_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum number of bytes that are read of the compiler's messages, and of characters that are shown.
const MAX_MESSAGES: u64 = 16 << 10;
const MAX_SHOWN: usize = 200;

/// Returns whether a file holds the source of a device tree (`.dts`).
#[must_use]
pub fn is_source(bytes: &[u8]) -> bool {
    let mut windows = bytes.windows(8).take(TAG_WITHIN);
    windows.any(|window| window == b"/dts-v1/")
}

/// Compiles a source with `dtc`, for [`Board::read`](crate::Board::read). May take seconds.
/// `dtc` looks for included files in the directory of the source.
///
/// # Errors
/// Fails with a message for the user: `dtc` is missing or refuses the source, or the source needs the C
/// preprocessor.
pub fn compile(source: &Path) -> Result<Vec<u8>, String> {
    compile_by(Command::new("dtc"), source, DTC_TIMEOUT)
}

fn compile_by(mut dtc: Command, source: &Path, timeout: Duration) -> Result<Vec<u8>, String> {
    let name = source.display();
    // A leading dot keeps `dtc` from reading the path as an option.
    let path = Path::new(".").join(source);
    let child = dtc
        .args(["-q", "-I", "dts", "-O", "dtb"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|e| match e.kind() {
        ErrorKind::NotFound => format!(
            "{name} is a device tree's source, and dtc, which compiles it, is not installed: `apt \
             install device-tree-compiler`, or elsewhere `dtc -O dtb -o board.dtb {name}`"
        ),
        _ => format!("{name}: dtc did not start: {e}"),
    })?;
    let output = wait_for_end(&mut child, timeout);
    // This does nothing if the compiler has ended. If it still runs, its output is no longer needed.
    let _ = child.kill();
    let status = child.wait().map_err(|e| format!("{name}: dtc: {e}"))?;
    let (dtb, messages) = output.ok_or_else(|| {
        format!(
            "{name}: dtc took longer than {} s; compile it by hand: `dtc -O dtb -o board.dtb {name}`",
            timeout.as_secs()
        )
    })?;
    if dtb.len() > MAX_BYTES {
        return Err(format!(
            "{name}: dtc's output has more than {MAX_BYTES} bytes, too many for a device tree"
        ));
    }
    match status.success() {
        true => Ok(dtb),
        false => Err(refusal(source, &messages)),
    }
}

/// Returns the output and the messages of a process, up to their bounds; `None` after the timeout.
fn wait_for_end(child: &mut Child, timeout: Duration) -> Option<(Vec<u8>, Vec<u8>)> {
    let (dtb, messages) = (child.stdout.take()?, child.stderr.take()?);
    let dtb = read(dtb, u64::try_from(MAX_BYTES).ok()?.saturating_add(1));
    let messages = read(messages, MAX_MESSAGES);
    let dtb = dtb.recv_timeout(timeout).ok()?;
    // The output is longer than this. The process waits until the rest is read, so its messages would not end.
    if dtb.len() > MAX_BYTES {
        return Some((dtb, Vec::new()));
    }
    Some((dtb, messages.recv_timeout(timeout).ok()?))
}

/// Reads at most `most` bytes on another thread.
fn read(from: impl Read + Send + 'static, most: u64) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // An error is treated as the end of the output.
        let _ = from.take(most).read_to_end(&mut bytes);
        let _ = send.send(bytes);
    });
    receive
}

/// Quotes the compiler's message about a refused source.
fn refusal(source: &Path, messages: &[u8]) -> String {
    let name = source.display();
    let text = std::fs::File::open(source).map(|file| {
        let mut text = Vec::new();
        let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        let _ = file.take(most).read_to_end(&mut text);
        text
    });
    let text = text.unwrap_or_default();
    let mut lines = text.split(|&byte| byte == b'\n');
    let is_c = |line: &[u8]| line.starts_with(b"#include") || line.starts_with(b"#define");
    if lines.any(|line| is_c(line.trim_ascii_start())) {
        return format!(
            "{name} needs the C preprocessor before dtc: `make dtbs` in the kernel that it is from \
             makes a .dtb, and so does `cpp -nostdinc -undef -x assembler-with-cpp -I include {name} \
             | dtc -O dtb -o board.dtb -`"
        );
    }
    let messages = String::from_utf8_lossy(messages);
    let first = messages.lines().find(|line| !line.trim().is_empty());
    let first = first.unwrap_or("it gives no reason");
    let shown = first.chars().filter(|c| !c.is_control()).take(MAX_SHOWN);
    format!(
        "dtc refuses {name}: {}; correct the source, or give a .dtb",
        shown.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Board;
    use std::path::PathBuf;
    use tempfile::TempDir;

    const SOURCE: &str = "/dts-v1/;\n/ { model = \"A Board\"; compatible = \"maker,a-board\"; };\n";

    /// Returns a directory, and the path of a source with this text in it.
    fn source(text: &str) -> (TempDir, PathBuf) {
        let dir = TempDir::new().expect("a directory");
        let dts = dir.path().join("board.dts");
        std::fs::write(&dts, text).expect("a source");
        (dir, dts)
    }

    /// Compiles a source with a shell script in place of dtc.
    fn by(script: &str, text: &str, timeout: Duration) -> Result<Vec<u8>, String> {
        let (_dir, dts) = source(text);
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "dtc"]);
        compile_by(shell, &dts, timeout)
    }

    #[test]
    fn sources_and_trees_are_distinguished() {
        assert!(is_source(SOURCE.as_bytes()) && is_source(b"// x\n/dts-v1/;"));
        assert!(!is_source(b"\xd0\x0d\xfe\xed") && !is_source(b""));
    }

    #[test]
    fn missing_dtc_is_reported_with_remedy() {
        let (_dir, dts) = source(SOURCE);
        let none = compile_by(Command::new("/nowhere/dtc"), &dts, DTC_TIMEOUT);
        let said = none.expect_err("no compiler");
        for part in [
            "apt install device-tree-compiler",
            "dtc -O dtb -o board.dtb",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn output_of_dtc_becomes_the_tree() {
        let out = by("printf tree; echo noise >&2", SOURCE, DTC_TIMEOUT);
        assert_eq!(out.as_deref(), Ok(b"tree".as_slice()));
    }

    #[test]
    fn refusals_quote_dtc() {
        let script = "echo 'Error: board.dts:3.1-4 syntax error' >&2; exit 1";
        let said = by(script, SOURCE, DTC_TIMEOUT).expect_err("refused");
        assert!(
            said.contains("board.dts:3.1-4 syntax error; correct"),
            "{said}"
        );
        let c = format!("{SOURCE}  #include <dt-bindings/x.h>\n");
        let said = by(script, &c, DTC_TIMEOUT).expect_err("refused");
        assert!(
            said.contains("C preprocessor") && said.contains("make dtbs"),
            "{said}"
        );
    }

    #[test]
    fn hanging_compiler_is_stopped() {
        // The script writes nothing and keeps its output open.
        let said = by("exec sleep 1000", SOURCE, Duration::ZERO).expect_err("stopped");
        assert!(said.contains("dtc took longer than 0 s"), "{said}");
        let said = by("exec cat /dev/zero", SOURCE, DTC_TIMEOUT).expect_err("stopped");
        assert!(said.contains("more than 4194304 bytes"), "{said}");
    }

    #[test]
    fn sources_compile_with_dtc() {
        let (_dir, dts) = source(SOURCE);
        match compile(&dts) {
            Ok(dtb) => assert_eq!(
                Board::read(&dtb).map(|board| board.model),
                Ok("A Board".into())
            ),
            Err(said) => assert!(said.contains("is not installed"), "{said}"),
        }
    }
}
