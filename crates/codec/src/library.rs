//! Which library does what: the codecs of this crate, and those of a program beside it.

use crate::job::Kind;
use crate::launch::Launch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The program with libavcodec's decoders.
const PROGRAM: &str = "vb3-codec";
/// Names another program, or `none` for no other.
const VARIABLE: &str = "VB3_CODEC";
/// Longest wait for what the program says of itself: on a busy machine, loading a hundred shared
/// libraries takes many seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest list that is read, in bytes.
const MAX_LIST: usize = 16 << 10;

/// A program with codecs of another library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Where it is.
    pub program: PathBuf,
    /// The library and its version, e.g. `libavcodec 59.37.100`.
    pub name: String,
    /// The licence it was built under.
    pub license: String,
    /// What it does, and what it calls the codec that does it.
    pub kinds: Vec<(Kind, String)>,
}

/// Why there is no other program's library.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Without {
    /// There is none, by this sentence: this crate's own codecs do what they can.
    None(String),
    /// There may be one, which did not answer. Nobody is to get less than it has in its place.
    Silent(String),
}

impl Without {
    fn sentence(&self) -> &str {
        match self {
            Self::None(sentence) | Self::Silent(sentence) => sentence,
        }
    }
}

impl Library {
    /// Asks a program what it has, for at most a minute.
    ///
    /// # Errors
    /// A sentence: the program cannot be run, says nothing in time, or has no codec.
    pub fn ask(program: &Path) -> Result<Self, String> {
        Self::ask_for(program, PATIENCE).map_err(|without| without.sentence().to_owned())
    }

    fn ask_for(program: &Path, patience: Duration) -> Result<Self, Without> {
        let named = |what: String| format!("{}: {what}", program.display());
        let none = |what: String| Without::None(named(what));
        let mut child = Command::new(program)
            .arg("--list")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| none(e.to_string()))?;
        let text = read(&mut child, patience);
        // It is not waited for before it is gone: it may hang.
        let _ = child.kill();
        let _ = child.wait();
        let Some(text) = text.map_err(none)? else {
            let what = format!("it says nothing for {} s", patience.as_secs());
            return Err(Without::Silent(named(what)));
        };
        Self::parse(program, &text).map_err(none)
    }

    fn parse(program: &Path, text: &str) -> Result<Self, String> {
        let mut library = Self {
            program: program.to_owned(),
            name: String::new(),
            license: String::new(),
            kinds: Vec::new(),
        };
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("library", "none")) => {
                    return Err(
                        "it was built without libavcodec; install libavcodec-dev and pkg-config, \
                         then build vb3-avcodec again"
                            .to_owned(),
                    );
                }
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
        Ok(library)
    }

    /// What `--list` prints of a library, as [`ask`](Self::ask) reads it.
    #[must_use]
    pub fn list(&self) -> String {
        let mut text = format!("library {}\nlicense {}\n", self.name, self.license);
        for (kind, name) in &self.kinds {
            text.push_str(&format!("has {} {name}\n", kind.word()));
        }
        text
    }
}

/// What a program says until it ends; `None` if that takes too long.
fn read(child: &mut Child, patience: Duration) -> Result<Option<String>, String> {
    let mut out = child.stdout.take().ok_or("it has no output")?;
    let until = Instant::now() + patience;
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
            return Err("it lists more than can be".to_owned());
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| "it lists no text".to_owned())?;
    Ok(Some(text))
}

/// All codecs at hand. A decoder of the other program is preferred to one of this crate.
#[derive(Clone, Debug)]
pub struct Codecs {
    built_in: Launch,
    other: Arc<OnceLock<Result<Library, Without>>>,
}

impl From<Launch> for Codecs {
    /// Those of this crate alone.
    fn from(built_in: Launch) -> Self {
        let none = Err(Without::None("no other program is wanted".to_owned()));
        Self {
            built_in,
            other: Arc::new(OnceLock::from(none)),
        }
    }
}

impl Codecs {
    /// Those of this crate, started as said, and those of the program that the variable
    /// `VB3_CODEC` names; or else of `vb3-codec`, found beside this program or in the search path.
    /// It is looked for when it is first needed, which takes as long as a program takes to start.
    #[must_use]
    pub fn with_program(built_in: Launch) -> Self {
        Self {
            built_in,
            other: Arc::default(),
        }
    }

    /// The other program's library, or a sentence that says why there is none.
    ///
    /// # Errors
    /// That sentence.
    pub fn other(&self) -> Result<&Library, &str> {
        self.ask_other().map_err(Without::sentence)
    }

    fn ask_other(&self) -> Result<&Library, &Without> {
        let found = self.other.get_or_init(|| {
            let program = find(std::env::var_os(VARIABLE)).map_err(Without::None)?;
            Library::ask_for(&program, PATIENCE)
        });
        found.as_ref()
    }

    /// How a worker of a kind is started.
    #[must_use]
    pub fn launch(&self, kind: Kind) -> Launch {
        if kind.has_library()
            && let Ok(library) = self.other()
            && library.kinds.iter().any(|(known, _)| *known == kind)
        {
            return Launch::other_program(&library.program);
        }
        self.built_in.clone()
    }

    /// By which library a kind is done, and under which licence, as a person is told.
    ///
    /// # Errors
    /// A sentence: no library at hand does it, or the other program did not answer, and what to do.
    pub fn describe(&self, kind: Kind) -> Result<String, String> {
        if kind.has_library()
            && let Err(Without::Silent(why)) = self.ask_other()
        {
            return Err(format!(
                "{why}; try again, or set {VARIABLE}=none to do without it"
            ));
        }
        if kind.has_library()
            && let Ok(library) = self.other()
            && let Some((_, name)) = library.kinds.iter().find(|(known, _)| *known == kind)
        {
            let Library {
                name: of, license, ..
            } = library;
            return Ok(format!("{of} ({name}), {license}"));
        }
        match self.built_in.check(kind) {
            Ok(()) => Ok(match kind {
                Kind::H264Decoder => "openh264, BSD-2-Clause: no B-frames, progressive",
                Kind::H264Encoder => "openh264, BSD-2-Clause",
                Kind::JpegDecoder => "zune-jpeg, MIT or Apache-2.0 or Zlib",
                Kind::JpegEncoder => "jpeg-encoder, MIT or Apache-2.0, and IJG",
                _ => "built in",
            }
            .to_owned()),
            Err(e) => Err(match self.other() {
                Ok(library) => format!(
                    "{} is not done by {}, which was built without it ({})",
                    kind.name(),
                    library.name,
                    library.program.display()
                ),
                Err(why) if std::env::var_os(VARIABLE).is_some() => format!("{e} ({why})"),
                _ => e.to_string(),
            }),
        }
    }
}

/// The program to ask.
fn find(named: Option<OsString>) -> Result<PathBuf, String> {
    match named {
        Some(name) if name == "none" => return Err(format!("{VARIABLE} is none")),
        Some(name) if !name.is_empty() => return Ok(name.into()),
        _ => {}
    }
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|own| Some(own.parent()?.join(PROGRAM)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join(PROGRAM));
    let mut places = beside.into_iter().chain(in_path);
    let found = places.find(|place| place.is_absolute() && place.is_file());
    found.ok_or_else(|| format!("there is no {PROGRAM} beside vb3 or in PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_is_written() {
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
        assert_eq!(read.as_ref(), Ok(&library));
        let none = Library::parse(&library.program, "library none\n").unwrap_err();
        assert!(none.contains("libavcodec-dev"), "{none}");
        assert!(Library::parse(&library.program, "has nonsense x\n").is_err());
    }

    #[test]
    fn a_program_that_hangs_or_is_missing_is_named() {
        let missing = Library::ask(Path::new("/nowhere/vb3-codec")).unwrap_err();
        assert!(missing.contains("/nowhere/vb3-codec"), "{missing}");
        // Takes no option `--list`, and says nothing on its output.
        let silent = Library::ask(Path::new("/bin/false")).unwrap_err();
        assert!(silent.contains("no codec"), "{silent}");
    }

    /// A machine may be so busy that it does not answer: pictures of another library, which decodes
    /// less, are not what was asked for.
    #[test]
    fn a_program_that_does_not_answer_is_not_done_without() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("vb3-codec");
        // By another process: this one may be forking, and what is open for writing is not started.
        let script = "printf '#!/bin/sh\\nexec sleep 1000\\n' > \"$0\" && chmod 700 \"$0\"";
        let mut sh = Command::new("sh");
        let made = sh.args(["-c", script]).arg(&program).status().unwrap();
        assert!(made.success());
        let silent = Library::ask_for(&program, Duration::from_millis(1)).unwrap_err();
        assert!(matches!(&silent, Without::Silent(why) if why.contains("says nothing")));
        let codecs = |without| Codecs {
            other: Arc::new(OnceLock::from(Err(without))),
            ..Codecs::from(Launch::in_thread())
        };
        let said = codecs(silent).describe(Kind::H264Decoder).unwrap_err();
        assert!(said.contains("says nothing") && said.contains("VB3_CODEC=none"));
        let none = codecs(Without::None("there is none".to_owned()));
        let found = none.describe(Kind::H264Decoder).unwrap();
        assert!(found.contains("openh264"), "{found}");
    }

    #[test]
    fn what_no_library_does_is_said() {
        let codecs = Codecs::from(Launch::in_thread());
        let said = codecs.describe(Kind::HevcDecoder).unwrap_err();
        assert!(
            said.contains("HEVC") && said.contains("vb3-avcodec"),
            "{said}"
        );
    }
}
