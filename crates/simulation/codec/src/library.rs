//! The available codec libraries: this crate, and an external program's library.

use crate::job::Kind;
use crate::launch::{Launch, Ready, Spare};
use crate::serve::{MakeCodec, serve_stdin_with};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The program with codecs of libavcodec.
const PROGRAM: &str = "vb3-codec";
/// The environment variable that names another program, or is `none` to use no program.
const VARIABLE: &str = "VB3_CODEC";
/// Longest wait for the program's list of codecs. On a busy machine, loading a hundred shared libraries
/// takes many seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest list that is read, in bytes.
const MAX_LIST: usize = 16 << 10;

/// A program with codecs of another library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Path of the program.
    pub program: PathBuf,
    /// The library and its version, e.g. `libavcodec 59.37.100`.
    pub name: String,
    /// The licence that the library was built under.
    pub license: String,
    /// Kinds that the library supports, each with the library's name of the codec.
    pub kinds: Vec<(Kind, String)>,
}

/// The text that a program without a library prints instead of the library's name.
const NO_LIBRARY: &str = "none";

impl Library {
    /// Asks a program for its codecs, for at most a minute.
    ///
    /// # Errors
    /// Fails with a message for the user: the program cannot be run, does not answer in time, or has
    /// no codec.
    pub fn ask(program: &Path) -> Result<Self, String> {
        let found = ask(program, ANSWER_TIMEOUT)?;
        found.map_or_else(|| Err(stub(program)), |found| Ok(found.library))
    }

    /// Parses the output of [`list`](Self::list), or of a program without a library.
    fn parse(program: &Path, text: &str) -> Result<Option<Self>, String> {
        let mut library = Self {
            program: program.to_owned(),
            name: String::new(),
            license: String::new(),
            kinds: Vec::new(),
        };
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("library", NO_LIBRARY)) => return Ok(None),
                Some(("library", name)) => library.name = name.to_owned(),
                Some(("license", license)) => library.license = license.to_owned(),
                Some(("has", rest)) => {
                    let (word, name) = rest.split_once(' ').unwrap_or((rest, rest));
                    if let Some(kind) = Kind::from_word(word) {
                        library.kinds.push((kind, name.to_owned()));
                    }
                }
                _ => {}
            }
        }
        if library.kinds.is_empty() {
            return Err("it lists no codec".to_owned());
        }
        Ok(Some(library))
    }

    /// Returns the `--list` output for a library, which [`ask`](Self::ask) parses.
    #[must_use]
    pub fn list(&self) -> String {
        let mut text = format!("library {}\nlicense {}\n", self.name, self.license);
        for (kind, name) in &self.kinds {
            text.push_str(&format!("has {} {name}\n", kind.word()));
        }
        text
    }
}

/// Prints the library's list of codecs, closes standard output, and then serves as
/// [`serve_stdin_with`](crate::serve_stdin_with) does.
#[must_use]
pub fn list_and_serve_stdin(library: &Library, make: MakeCodec) -> ExitCode {
    let mut out = std::io::stdout();
    let listed = out.write_all(library.list().as_bytes());
    let listed = listed.and_then(|()| out.flush());
    let closed = listed.and_then(|()| {
        let null = File::options().write(true).open("/dev/null")?;
        Ok(rustix::stdio::dup2_stdout(null)?)
    });
    match closed {
        Ok(()) => serve_stdin_with(make),
        Err(_) => ExitCode::FAILURE,
    }
}

/// A program with codecs, and its process that has listed them.
#[derive(Debug)]
struct Found {
    library: Library,
    spare: Arc<Spare>,
}

/// Asks a program for its codecs. Returns `None` if the program was built without a library.
/// The process then serves the first worker, which saves loading the library twice.
fn ask(program: &Path, timeout: Duration) -> Result<Option<Found>, String> {
    let named = |what: String| format!("{}: {what}", program.display());
    let (list, stdout) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| named(e.to_string()))?;
    let args = ["--list", "--serve"].map(OsString::from);
    let ready = Ready::start(program, &args, stdout).map_err(|e| named(e.to_string()))?;
    let silent = || {
        format!(
            "it did not answer within {} s; try again",
            timeout.as_secs()
        )
    };
    let text = read(File::from(list), timeout).and_then(|text| text.ok_or_else(silent));
    let library = text.and_then(|text| match &*text {
        "" => Err(ready.running.await_end()),
        text => Library::parse(program, text),
    });
    let found = library.map_err(named)?.map(|library| Found {
        library,
        spare: Arc::new(Mutex::new(Some(ready))),
    });
    Ok(found)
}

/// Describes a program that was built without a library.
fn stub(program: &Path) -> String {
    format!("{}: it was built without libavcodec", program.display())
}

/// Reads a program's output until it ends; `None` on timeout.
fn read(mut out: File, timeout: Duration) -> Result<Option<String>, String> {
    let until = Instant::now() + timeout;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        let ready = poll(&mut [PollFd::new(&out, PollFlags::IN)], Some(&left));
        if ready.is_ok_and(|ready| ready == 0) {
            return Ok(None);
        }
        match out.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => bytes.extend_from_slice(buffer.get(..len).unwrap_or_default()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.to_string()),
        }
        if bytes.len() > MAX_LIST {
            return Err("its list is longer than a list of codecs can be".to_owned());
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "it lists no text".to_owned())?;
    Ok(Some(text))
}

/// All available codecs: those of this crate, and those of a program with another library.
#[derive(Clone, Debug)]
pub struct Codecs {
    built_in: Launch,
    other: Arc<OnceLock<Result<Found, String>>>,
}

impl From<Launch> for Codecs {
    /// Returns only this crate's codecs, started by `built_in`.
    fn from(built_in: Launch) -> Self {
        let none = Err("no other program is wanted".to_owned());
        Self {
            built_in,
            other: Arc::new(OnceLock::from(none)),
        }
    }
}

impl Codecs {
    /// Returns this crate's codecs, started by `built_in`, and those of an external program.
    ///
    /// The variable `VB3_CODEC` names that program. Otherwise this looks for `vb3-codec` next to this
    /// program, then in the search path, and takes the first one with a library. The search runs at
    /// first use, and takes as long as starting a program.
    #[must_use]
    pub fn with_program(built_in: Launch) -> Self {
        Self {
            built_in,
            other: Arc::default(),
        }
    }

    /// Returns the external program's library.
    ///
    /// # Errors
    /// Fails with a message for the user that says why there is no library.
    pub fn other(&self) -> Result<&Library, &str> {
        self.found().map(|found| &found.library)
    }

    fn found(&self) -> Result<&Found, &str> {
        let found = self.other.get_or_init(|| find(std::env::var_os(VARIABLE)));
        found.as_ref().map_err(String::as_str)
    }

    /// Returns how to start a worker of a kind.
    #[must_use]
    pub fn launch(&self, kind: Kind) -> Launch {
        match self.built_in.check(kind).is_err().then(|| self.found()) {
            Some(Ok(Found { library, spare })) => {
                Launch::other_with_spare(library.program.clone(), Arc::clone(spare))
            }
            _ => self.built_in.clone(),
        }
    }

    /// Describes the library that handles a kind, and the library's licence.
    ///
    /// # Errors
    /// Fails with a message for the user if no available library supports the kind. It contains a remedy.
    pub fn describe(&self, kind: Kind) -> Result<String, String> {
        let Err(missing) = self.built_in.check(kind) else {
            let own = kind.row().map(|_| "libjpeg-turbo-rs, MIT or Apache-2.0");
            return Ok(own.unwrap_or("built in").to_owned());
        };
        let Library {
            program,
            name: of,
            license,
            kinds,
        } = self.other().map_err(|why| format!("{missing} ({why})"))?;
        match kinds.iter().find(|(known, _)| *known == kind) {
            Some((_, name)) => Ok(format!("{of} ({name}), {license}")),
            None => Err(format!(
                "{of} was built without {} ({})",
                kind.name(),
                program.display()
            )),
        }
    }
}

/// Returns the library of the named program, else of the first program found that has a library.
fn find(named: Option<OsString>) -> Result<Found, String> {
    match named {
        Some(name) if name == "none" => return Err(format!("{VARIABLE} is none")),
        Some(name) if !name.is_empty() => {
            let program = Path::new(&name);
            let asked =
                ask(program, ANSWER_TIMEOUT).and_then(|found| found.ok_or_else(|| stub(program)));
            return asked.map_err(|why| format!("{VARIABLE}: {why}"));
        }
        _ => {}
    }
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|own| Some(own.parent()?.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join(PROGRAM));
    first_library(beside.into_iter().chain(in_path), ANSWER_TIMEOUT)
}

/// Asks these programs in order, and returns the first library that one has. A program without a library is
/// treated as missing. A program that does not answer ends the search, which would otherwise take too long.
fn first_library(
    places: impl Iterator<Item = PathBuf>,
    timeout: Duration,
) -> Result<Found, String> {
    let mut missing = format!("there is no {PROGRAM} beside vb3 or in PATH");
    for place in places.filter(|place| place.is_absolute() && place.is_file()) {
        match ask(&place, timeout)? {
            Some(found) => return Ok(found),
            None => missing = stub(&place),
        }
    }
    Err(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn lists_survive_writing_and_parsing() {
        let library = Library {
            program: "/x/vb3-codec".into(),
            name: "libavcodec 61.19.101".to_owned(),
            license: "LGPL version 2.1 or later".to_owned(),
            kinds: vec![
                (Kind::H264Decoder, "h264".to_owned()),
                (Kind::Av1Decoder, "libdav1d".to_owned()),
            ],
        };
        let read = Library::parse(&library.program, &library.list());
        assert_eq!(read.as_ref(), Ok(&Some(library)));
        let none = Library::parse(Path::new("/x"), "library none\n");
        assert_eq!(none, Ok(None));
        assert!(Library::parse(Path::new("/x"), "has nonsense x\n").is_err());
    }

    #[test]
    fn hanging_and_missing_programs_are_named() {
        let missing = Library::ask(Path::new("/nowhere/vb3-codec")).unwrap_err();
        assert!(missing.contains("/nowhere/vb3-codec"), "{missing}");
        // The program does not know `--list`, and prints nothing.
        let silent = Library::ask(Path::new("/bin/false")).unwrap_err();
        assert!(silent.contains("ended with status 1"), "{silent}");
    }

    #[test]
    fn the_named_program_alone_is_asked() {
        let why = |name: &str| find(Some(name.into())).unwrap_err();
        assert_eq!(why("none"), "VB3_CODEC is none");
        let silent = why("/bin/false");
        assert!(silent.starts_with("VB3_CODEC: /bin/false: "), "{silent}");
    }

    /// Writes a shell script from a child process.
    /// If this process wrote it, another test's child could inherit the open file. The kernel does not
    /// execute a file that is open for writing.
    fn script(program: &Path, body: &str) {
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 700 \"$0\"";
        let mut sh = Command::new("sh");
        let made = sh.args(["-c", write]).arg(program).arg(body).status();
        assert!(made.unwrap().success());
    }

    #[test]
    fn silent_program_ends_the_search() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("vb3-codec");
        script(&program, "exec sleep 1000");
        let places = [program.clone(), program].into_iter();
        let silent = first_library(places, Duration::from_millis(1)).unwrap_err();
        assert!(silent.contains("did not answer"), "{silent}");
    }

    #[test]
    fn program_without_library_counts_as_missing() {
        let dir = tempfile::tempdir().unwrap();
        let [stub, real] = ["stub", "real"].map(|name| dir.path().join(name));
        script(&stub, "echo library none; exit 1");
        script(&real, "echo library x; echo has h264dec y");
        let first = |places: &[&PathBuf]| {
            first_library(places.iter().copied().cloned(), ANSWER_TIMEOUT)
                .map(|found| found.library.program)
        };
        assert_eq!(first(&[&stub, &real]), Ok(real));
        let missing = first(&[&stub]).unwrap_err();
        assert!(missing.contains("without libavcodec"), "{missing}");
        let missing = first(&[&dir.path().join("nothing")]).unwrap_err();
        assert!(missing.contains("there is no vb3-codec"), "{missing}");
    }

    /// Returns the codecs of a program, and the process that has listed them.
    fn codecs_of(body: &str) -> (Codecs, u32) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("vb3-codec");
        script(
            &program,
            &format!("echo library x; echo has h264dec y; {body}"),
        );
        let found = ask(&program, ANSWER_TIMEOUT).unwrap().unwrap();
        let pid = loop {
            let spare = found.spare.lock().unwrap();
            match spare.as_ref().unwrap().running.id() {
                Some(pid) => break pid,
                None => std::thread::yield_now(),
            }
        };
        let codecs = Codecs {
            built_in: Launch::in_thread(),
            other: Arc::new(OnceLock::from(Ok(found))),
        };
        (codecs, pid)
    }

    #[test]
    fn process_that_listed_serves_the_first_worker() {
        let (codecs, listed) = codecs_of("exec sleep 1000 > /dev/null");
        let launch = codecs.launch(Kind::H264Decoder);
        let first = launch.start().unwrap();
        assert_eq!(first.running.id(), Some(listed));
        let second = codecs.launch(Kind::H264Decoder).start().unwrap();
        assert_ne!(second.running.id(), Some(listed));
    }

    #[test]
    fn process_that_closed_its_socket_serves_no_worker() {
        let (codecs, listed) = codecs_of("exec < /dev/null; exec sleep 1000 > /dev/null");
        let found = codecs.other.get().unwrap().as_ref().unwrap();
        // The thread that started the process, or a fork elsewhere, may still hold the process's end.
        while found.spare.lock().unwrap().as_ref().unwrap().waits() {
            std::thread::yield_now();
        }
        let first = codecs.launch(Kind::H264Decoder).start().unwrap();
        assert_ne!(first.running.id(), Some(listed));
    }

    #[test]
    fn missing_codec_names_package_to_install() {
        let codecs = Codecs::from(Launch::in_thread());
        for (kind, name) in [
            (Kind::H264Decoder, "decoding H.264"),
            (Kind::H264Encoder, "encoding H.264"),
            (Kind::HevcDecoder, "decoding HEVC"),
        ] {
            let said = codecs.describe(kind).unwrap_err();
            for word in [name, "the package vb3-codec", "libavcodec-dev"] {
                assert!(said.contains(word), "{said}");
            }
        }
        assert!(codecs.describe(Kind::JpegDecoder).is_ok());
    }
}
