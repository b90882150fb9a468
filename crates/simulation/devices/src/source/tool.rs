//! Runs ffmpeg and ffprobe (the tools) as child processes. Each wait has a time limit. To stop a tool, this
//! module sends SIGKILL to its process group.

use crate::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Maximum time to wait for one picture, or for ffprobe's answer. The system's clock measures this time,
/// because the devices' clock may stand still meanwhile.
pub(super) const PICTURE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest step of a wait. If a step takes more time, this process itself was stopped for the rest of that
/// time, which therefore does not count.
const MAX_STEP: Duration = Duration::from_secs(1);
/// Size of the pipe for a tool's output, in bytes. Both sides sleep about once per filled pipe, and a picture
/// has several megabytes, so the pipe should be large. But all pipes of a user without privileges together
/// have only 64 MiB.
const PIPE_BYTES: usize = 512 << 10;
/// Longest wait for a tool's messages after the tool and all processes of its process group have ended. Then only a
/// process that has left the group can still have the pipe of the messages open.
const MESSAGES_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum bytes of a tool's messages that are kept.
const MESSAGES_MAX: u64 = 4096;

/// Reason why waiting for a tool stopped.
#[derive(Debug, Error)]
pub(super) enum Stop {
    /// The owner needs the tool no more.
    #[error("it was stopped")]
    Quit,
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// A running ffmpeg or ffprobe. Dropping it kills the tool and waits for its end.
pub(super) struct Tool {
    name: &'static str,
    child: Child,
    stdout: ChildStdout,
    /// Gets the tool's messages when their pipe is closed; `None` after the wait for them.
    messages: Option<Receiver<String>>,
    patience: Duration,
}

impl Tool {
    /// Starts a tool in a process group of its own, so that ^C at the terminal does not reach the tool.
    /// Fails, with a message for the user, if the tool is not installed, or if the system cannot start a
    /// process or a thread.
    pub(super) fn start(
        name: &'static str,
        command: &mut Command,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let lacks = |e| Failure::new(format!("cannot start {name}: {e}"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| not_started(name, &e))?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| lacks(ErrorKind::Other.into()))?;
        // If this fails, the pipe keeps the default size of 64 KiB.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
        let stderr = child.stderr.take();
        let (say, said) = sync_channel(1);
        // The tool is made before the thread, so that the child is killed if no thread can be started.
        let tool = Self {
            name,
            child,
            stdout,
            messages: Some(said),
            patience,
        };
        let thread = std::thread::Builder::new().name("vb3-clip-log".to_owned());
        // Fails to send if nobody needs the messages any more.
        let reader = thread.spawn(move || say.send(stderr.map_or_else(String::new, messages)));
        drop(reader.map_err(lacks)?);
        Ok(tool)
    }

    /// Reads until `data` is full or the output ends. Returns the number of bytes read. Stops early when
    /// `quit` becomes readable or closes.
    pub(super) fn fill(
        &mut self,
        data: &mut [u8],
        quit: Option<BorrowedFd<'_>>,
    ) -> Result<usize, Stop> {
        let mut left = self.patience;
        let mut filled = 0;
        while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            self.wait(self.stdout.as_fd(), quit, &mut left)?;
            match self.stdout.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        Ok(filled)
    }

    /// Waits until `fd` is readable, and takes the time that passes from `left`. Stops early when `quit` becomes
    /// readable or closes.
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        quit: Option<BorrowedFd<'_>>,
        left: &mut Duration,
    ) -> Result<(), Stop> {
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = vec![readable(fd)];
        fds.extend(quit.map(readable));
        loop {
            let began = Instant::now();
            let step = Timespec::try_from((*left).min(MAX_STEP)).unwrap_or_default();
            let polled = poll(&mut fds, Some(&step));
            pass(left, began.elapsed());
            match polled {
                Ok(0) | Err(Errno::INTR) if left.is_zero() => return Err(self.stalled().into()),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) if fds.get(1).is_some_and(|quit| !quit.revents().is_empty()) => {
                    return Err(Stop::Quit);
                }
                Ok(_) => return Ok(()),
                Err(e) => {
                    return Err(Failure::new(format!("cannot poll {}: {e}", self.name)).into());
                }
            }
        }
    }

    fn stalled(&self) -> Failure {
        Failure::new(format!(
            "{} gave nothing for {} seconds and was ended",
            self.name,
            self.patience.as_secs()
        ))
    }

    /// Waits for the tool's end, after its output has ended. Returns the tool's status and messages. Stops early
    /// when `quit` becomes readable or closes.
    /// Fails, with a message for the user, if the tool does not end in time.
    pub(super) fn end(
        mut self,
        quit: Option<BorrowedFd<'_>>,
    ) -> Result<(ExitStatus, String), Stop> {
        let pid = Pid::from_child(&self.child);
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
            let mut left = self.patience;
            self.wait(pidfd.as_fd(), quit, &mut left)?;
            // The tool has ended and is not reaped yet, so its number is not reused. A child that it left may have
            // the pipe of the messages open.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        match self.child.try_wait() {
            Ok(Some(status)) => Ok((status, self.said())),
            Ok(None) => Err(self.stalled().into()),
            Err(e) => Err(Failure::new(format!("cannot wait for {}: {e}", self.name)).into()),
        }
    }

    /// Returns the messages of a tool that has ended; nothing if their pipe is still open after some time.
    fn said(&mut self) -> String {
        let most = MESSAGES_TIMEOUT.min(self.patience);
        let messages = self.messages.take();
        let said = messages.and_then(|messages| messages.recv_timeout(most).ok());
        said.unwrap_or_default()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        if let Ok(None) = self.child.try_wait() {
            // The child is not reaped yet, so its number is not reused. The signal reaches its children, too.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.child.wait();
        }
        // Lets the thread end first, which has a descriptor.
        self.said();
    }
}

fn pass(left: &mut Duration, time: Duration) {
    *left = left.saturating_sub(time.min(MAX_STEP));
}

/// Reads all messages of a tool, so that the tool never blocks. Keeps the last [`MESSAGES_MAX`] bytes.
fn messages(mut stderr: impl Read) -> String {
    let mut kept = Vec::new();
    while matches!(
        (&mut stderr).take(MESSAGES_MAX).read_to_end(&mut kept),
        Ok(1..)
    ) {
        let older = kept.len().saturating_sub(MESSAGES_MAX as usize);
        kept.drain(..older);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Returns the failure of a tool that did not start.
pub(super) fn not_started(name: &str, error: &std::io::Error) -> Failure {
    if error.kind() == ErrorKind::NotFound {
        Failure::new(format!(
            "{name} is not installed, and it decodes the clips of cameras; run \"apt install \
             ffmpeg\", or use camera=pattern"
        ))
    } else {
        Failure::new(format!("cannot start {name}: {error}"))
    }
}

/// Returns the reason that a tool gave for its failure: the last two messages in `said`, without the
/// "[component @ address]" in front. Without messages, this is the tool's status.
pub(super) fn reason(said: &str, status: &ExitStatus) -> String {
    let lines: Vec<&str> = said
        .lines()
        .map(|line| {
            let line = line.trim();
            // A message such as "[mov,mp4 @ 0x55d0c0ffee00] moov atom not found".
            let inner = line
                .strip_prefix('[')
                .and_then(|rest| rest.split_once("] "));
            inner.map_or(line, |(_, message)| message)
        })
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines.len().saturating_sub(2);
    match lines.get(last..) {
        None | Some([]) => status.to_string(),
        Some(lines) => lines.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(300);

    fn sh(script: &str, patience: Duration) -> Tool {
        let mut command = Command::new("sh");
        Tool::start("sh", command.args(["-c", script]), patience).expect("a shell")
    }

    #[test]
    fn a_silent_tool_is_ended_with_its_children() {
        let mut tool = sh("sleep 1000 & sleep 1000", SOON);
        let Err(Stop::Failed(failure)) = tool.fill(&mut [0; 4], None) else {
            panic!("it said nothing");
        };
        assert!(failure.sentence().contains("gave nothing"), "{failure}");
        // This waits for the messages' thread, although the children have its pipe open.
        drop(tool);
    }

    #[test]
    fn a_tool_that_does_not_end_is_an_error() {
        let mut tool = sh("echo hi; exec >&-; exec sleep 1000", Duration::from_secs(2));
        let mut data = [0; 8];
        assert!(matches!(tool.fill(&mut data, None), Ok(3)));
        let Err(Stop::Failed(failure)) = tool.end(None) else {
            panic!("it sleeps");
        };
        assert!(failure.sentence().contains("gave nothing"), "{failure}");
    }

    /// A tool may be a script that leaves a child, which has the pipe of its messages open.
    #[test]
    fn a_tool_that_ends_is_not_awaited_for_its_children() {
        let mut tool = sh("sleep 1000 >&- & echo hi >&2", PICTURE_TIMEOUT);
        assert!(matches!(tool.fill(&mut [0; 4], None), Ok(0)));
        let Ok((status, said)) = tool.end(None) else {
            panic!("it ended");
        };
        assert_eq!((status.success(), &*said), (true, "hi\n"));
    }

    /// Without a limit, this waits for a process that ends only when the test kills it.
    #[test]
    fn a_process_outside_of_its_group_is_not_awaited() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pid");
        let script = format!(
            "setsid sh -c 'echo $$ >{}; echo ok; exec sleep 100000 >&-' & exit 3",
            file.display()
        );
        let mut tool = sh(&script, Duration::from_secs(4));
        assert!(matches!(tool.fill(&mut [0; 3], None), Ok(3)));
        let ended = tool.end(None);
        let pid = std::fs::read_to_string(file).expect("it was written");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        rustix::process::kill_process(pid.expect("a number"), Signal::KILL).expect("it lives");
        let Ok((status, said)) = ended else {
            panic!("it ended");
        };
        assert_eq!((status.code(), &*said), (Some(3), ""));
    }

    #[test]
    fn a_stop_of_this_process_takes_no_patience() {
        let mut left = PICTURE_TIMEOUT;
        pass(&mut left, Duration::from_millis(20));
        pass(&mut left, Duration::from_hours(1));
        assert_eq!(left, PICTURE_TIMEOUT - MAX_STEP - Duration::from_millis(20));
    }

    #[test]
    fn a_closed_quit_pipe_ends_a_read() {
        let (quit, closed) = std::io::pipe().expect("a pipe");
        let mut tool = sh("exec sleep 1000", PICTURE_TIMEOUT);
        drop(closed);
        let stopped = tool.fill(&mut [0; 4], Some(quit.as_fd()));
        assert!(matches!(stopped, Err(Stop::Quit)));
    }

    #[test]
    fn last_messages_of_many_are_kept() {
        let said = "a warning\n".repeat(1000) + "moov atom not found\ninvalid data\n";
        let found = reason(&messages(said.as_bytes()), &ExitStatus::default());
        assert_eq!(found, "moov atom not found; invalid data");
    }

    #[test]
    fn reasons_are_the_last_messages() {
        let status = ExitStatus::default();
        let said = "[mov,mp4 @ 0x5600] moov atom not found\nfile:x: Invalid data found\n";
        let found = reason(said, &status);
        assert_eq!(found, "moov atom not found; file:x: Invalid data found");
        assert_eq!(reason(" \n", &status), status.to_string());
    }
}
