//! The kinds of files that programs open: a registry.
//!
//! Each kind implements [`Kind`] and has a row in [`Kinds::new`]. The registry numbers the nodes of all kinds,
//! and knows the kind of each open file. State that several kinds use belongs to the [`Run`]; other state
//! belongs to its kind.

mod attributes;
mod card;
mod dma_buf;
mod gone;
mod heaps;
mod media;
mod sw_sync;
mod sync_file;
mod udmabuf;
mod uvc;
mod video;

use crate::Run;
use crate::node::Node;
use crate::program::Answer;
use crate::refusals::Refused;
pub(super) use card::{CardDevice, Cards};
pub(super) use gone::{GoneMedia, GoneVideo};
use media::Media;
pub(super) use media::MediaFiles;
use std::collections::BTreeMap;
pub(super) use sync_file::SyncFiles;
use vb3_frontend::{
    CallId, CallOutcome, Errno, FileId, Ioctl, Map, Mmap, NodeId, Op, Origin, Step,
};
use vb3_machine::Profile;
use vb3_sysfs::{File, Link};
use vb3_v4l2::{POLL_IN, POLL_OUT, POLL_PRI};
pub(super) use video::VideoFiles;
use video::Videos;

/// A program's call on an open file.
#[derive(Clone, Copy)]
pub(super) struct FileCall<'a> {
    pub(super) file: FileId,
    pub(super) op: Op,
    pub(super) nonblocking: bool,
    pub(super) caller: &'a Step<'a>,
}

impl<'a> FileCall<'a> {
    /// Returns the call if it is an ioctl.
    ///
    /// # Errors
    /// EINVAL for read() and write(), as Linux returns for files without these operations.
    pub(super) fn ioctl(&self) -> Result<Ioctl<'a>, Refused> {
        match self.op {
            Op::Ioctl { request, arg } => Ok(Ioctl::new(request, arg, self.caller)),
            Op::Read { .. } | Op::Write { .. } | Op::Resume { .. } => Err(Errno::EINVAL.into()),
        }
    }
}

/// A kind of file.
///
/// A method that needs the time calls [`Run::set_now`]. The registry handles the devices' news after each method.
/// While a method runs, the registry does not have the kind: a method must not call or release files.
pub(super) trait Kind: Send {
    /// Returns the name under which [`Kinds::add`] finds the kind.
    fn name(&self) -> &'static str;

    /// Returns the kind's nodes. The registry sets their ids.
    fn nodes(&self, run: &Run) -> Vec<vb3_frontend::Node> {
        let _ = run;
        Vec::new()
    }

    /// Returns whether the device of the node with this index is plugged in.
    fn is_present(&self, run: &Run, node: usize) -> bool {
        let _ = (run, node);
        true
    }

    /// Returns a node's generated files in sysfs and udev's database.
    fn files(&self, run: &Run, node: usize) -> Vec<File> {
        let _ = (run, node);
        Vec::new()
    }

    /// Returns a node's symbolic links.
    fn links(&self, run: &Run, node: usize) -> Vec<Link> {
        let _ = (run, node);
        Vec::new()
    }

    /// Opens the node with this index as `file`.
    ///
    /// # Errors
    /// ENODEV, and errors of the kind.
    fn open(
        &mut self,
        run: &mut Run,
        node: usize,
        file: FileId,
        origin: Origin,
    ) -> Result<(), Refused> {
        let _ = (run, node, file, origin);
        Err(Errno::ENODEV.into())
    }

    /// Answers a call on an open file.
    ///
    /// # Errors
    /// Errors of the kind. One that names a device and a call is reported as a refusal.
    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused>;

    /// Returns memory for a program's mmap.
    ///
    /// # Errors
    /// ENODEV for a kind without mmap, and errors of the kind.
    fn map(
        &mut self,
        run: &mut Run,
        file: FileId,
        args: &Mmap,
        origin: Origin,
    ) -> Result<Map, Refused> {
        let _ = (run, file, args, origin);
        Err(Errno::ENODEV.into())
    }

    /// Returns a file's poll events. `is_peek`: the poll must not start reading.
    fn poll(&mut self, run: &mut Run, file: FileId, events: i16, is_peek: bool) -> i16 {
        let _ = (run, file, is_peek);
        // Linux reports files without a poll operation as ready.
        (POLL_IN | POLL_OUT) & events
    }

    /// Notes that a program waits for these events.
    fn poll_waits(&mut self, run: &mut Run, file: FileId, events: i16) {
        let _ = (run, file, events);
    }

    /// Cancels a waiting or unfinished call.
    fn abandon(&mut self, run: &mut Run, file: FileId, call: CallId) {
        let _ = (run, file, call);
    }

    /// Returns whether earlier closes and unmaps can change the result of an ioctl, or of a poll if `request` is `None`.
    fn needs_closes(&self, run: &Run, file: FileId, request: Option<u32>, argument: &[u8]) -> bool {
        let _ = (run, file, request, argument);
        true
    }

    /// Releases a file whose last descriptor was closed.
    fn release(&mut self, run: &mut Run, file: FileId) {
        let _ = (run, file);
    }
}

/// State of kinds that other kinds and the core also use.
pub(super) struct OpenFiles {
    pub(super) videos: Videos,
    pub(super) media: Media,
    pub(super) sync_files: SyncFiles,
}

impl OpenFiles {
    /// Makes the state of a run whose devices are these nodes.
    pub(super) fn new(nodes: &[Node]) -> Self {
        Self {
            videos: Videos::default(),
            media: Media::new(nodes),
            sync_files: SyncFiles::default(),
        }
    }
}

/// A node of a kind.
struct Listed {
    kind: usize,
    /// The node's index among the nodes of its kind.
    index: usize,
}

/// The kinds of files, their nodes and the open files.
#[derive(Default)]
pub(super) struct Kinds {
    names: Vec<&'static str>,
    /// `None` while a method of the kind runs.
    kinds: Vec<Option<Box<dyn Kind>>>,
    /// By node id.
    nodes: Vec<Listed>,
    /// The kind of each open file.
    files: BTreeMap<FileId, usize>,
    next_file: u64,
}

impl Kinds {
    /// Makes the kinds of a run: a row for each.
    pub(super) fn new(profile: &Profile, nodes: &[Node]) -> Self {
        let kinds: Vec<Box<dyn Kind>> = vec![
            Box::new(VideoFiles),
            Box::new(MediaFiles),
            Box::new(heaps::Heaps::new(profile, nodes)),
            Box::new(udmabuf::Udmabufs::new()),
            Box::new(sw_sync::Timelines),
            Box::new(attributes::Attributes::new(nodes)),
            Box::new(sync_file::SyncFileFiles),
            Box::new(card::CardFiles),
            Box::new(card::CrcFiles::default()),
            Box::new(GoneVideo),
            Box::new(GoneMedia),
        ];
        Self {
            names: kinds.iter().map(|kind| kind.name()).collect(),
            kinds: kinds.into_iter().map(Some).collect(),
            ..Self::default()
        }
    }

    /// Returns an unused file id.
    pub(super) const fn new_file(&mut self) -> FileId {
        self.next_file = self.next_file.wrapping_add(1);
        FileId(self.next_file)
    }

    /// Records an open file of the kind with this name.
    pub(super) fn add(&mut self, file: FileId, name: &str) {
        if let Some(kind) = self.named(name) {
            self.files.insert(file, kind);
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    /// Returns the number of open files.
    pub(super) fn open_files(&self) -> usize {
        self.files.len()
    }

    fn kind(&self, number: usize) -> Option<&dyn Kind> {
        self.kinds.get(number)?.as_deref()
    }

    /// Returns the id of a kind's node with this index.
    pub(super) fn node_id(&self, name: &str, index: usize) -> Option<NodeId> {
        let kind = self.named(name)?;
        let is_it = |node: &Listed| node.kind == kind && node.index == index;
        let at = self.nodes.iter().position(is_it)?;
        u32::try_from(at).ok().map(NodeId)
    }
}

impl Run {
    /// Gives each node of each kind its id. Called once.
    pub(super) fn number_nodes(&mut self) {
        let counts = self.kinds.kinds.iter().enumerate();
        let counts =
            counts.map(|(kind, own)| (kind, own.as_ref().map_or(0, |own| own.nodes(self).len())));
        let nodes =
            counts.flat_map(|(kind, count)| (0..count).map(move |index| Listed { kind, index }));
        self.kinds.nodes = nodes.collect();
    }

    /// Returns all nodes, with their ids.
    pub(super) fn all_nodes(&self) -> Vec<vb3_frontend::Node> {
        let kinds = self.kinds.kinds.iter().flatten();
        let nodes = (0..).zip(kinds.flat_map(|kind| kind.nodes(self)));
        nodes
            .map(|(id, node)| vb3_frontend::Node {
                id: NodeId(id),
                ..node
            })
            .collect()
    }

    /// Asks the kind of a node. `index` of `ask` is the node's index among the kind's nodes.
    pub(super) fn of_node<T>(
        &self,
        node: NodeId,
        ask: impl FnOnce(&dyn Kind, usize) -> T,
    ) -> Option<T> {
        let Listed { kind, index } = self.kinds.nodes.get(node.0 as usize)?;
        Some(ask(self.kinds.kind(*kind)?, *index))
    }

    /// Asks the kind of an open file.
    pub(super) fn of_file<T>(&self, file: FileId, ask: impl FnOnce(&dyn Kind) -> T) -> Option<T> {
        let kind = self.kinds.files.get(&file)?;
        Some(ask(self.kinds.kind(*kind)?))
    }

    /// Calls a method of a kind, then handles the news of devices. Also returns whether a device has reported the
    /// reason of a failure, so that the failure needs no entry of its own.
    fn with_kind<T>(
        &mut self,
        number: usize,
        act: impl FnOnce(&mut dyn Kind, &mut Self) -> T,
    ) -> Option<(T, bool)> {
        let mut kind = self.kinds.kinds.get_mut(number)?.take()?;
        let result = act(&mut *kind, self);
        if let Some(place) = self.kinds.kinds.get_mut(number) {
            *place = Some(kind);
        }
        Some((result, self.after_call()))
    }

    fn with_file<T>(
        &mut self,
        file: FileId,
        act: impl FnOnce(&mut dyn Kind, &mut Self) -> T,
    ) -> Option<(T, bool)> {
        let kind = *self.kinds.files.get(&file)?;
        self.with_kind(kind, act)
    }

    /// Opens a node.
    pub(super) fn open_node(&mut self, node: NodeId, origin: Origin) -> Result<FileId, Errno> {
        let listed = self.kinds.nodes.get(node.0 as usize).ok_or(Errno::ENODEV)?;
        let (kind, index) = (listed.kind, listed.index);
        if self.of_node(node, |kind, index| kind.is_present(self, index)) != Some(true) {
            return Err(Errno::ENODEV);
        }
        let file = self.kinds.new_file();
        let opened = self.with_kind(kind, |kind, run| kind.open(run, index, file, origin));
        self.judge(opened, true)?;
        self.kinds.files.insert(file, kind);
        Ok(file)
    }

    /// Answers a call on an open file.
    pub(super) fn call_file(&mut self, call: FileCall<'_>) -> CallOutcome {
        let result = match self.meet(call) {
            Some(errno) => Err(errno),
            None => {
                let done = self.with_file(call.file, |kind, run| kind.call(run, call));
                self.judge(done, !call.caller.lacks())
            }
        };
        match result {
            _ if call.caller.lacks() => {}
            Ok(Answer::Wait) | Err(Errno::EAGAIN) => self.note_wait(call.file, true),
            _ => self.waits.end(call.file),
        }
        outcome(result)
    }

    /// Returns memory for a program's mmap of an open file.
    pub(super) fn map_file(
        &mut self,
        file: FileId,
        args: &Mmap,
        origin: Origin,
    ) -> Result<Map, Errno> {
        let mapped = self.with_file(file, |kind, run| kind.map(run, file, args, origin));
        self.judge(mapped, true)
    }

    /// Returns a file's poll events, and notes whether the program waits for time to pass.
    pub(super) fn poll_file(&mut self, file: FileId, events: i16, is_peek: bool) -> i16 {
        let ask = |events: i16, is_peek: bool| {
            move |kind: &mut dyn Kind, run: &mut Self| kind.poll(run, file, events, is_peek)
        };
        let waits = self.waits.files.contains(&file);
        let Some((found, _)) = self.with_file(file, ask(events, is_peek)) else {
            return gone::POLL_GONE;
        };
        self.note_wait(file, found == 0);
        // The poll has marked the program as waiting. If the file is ready for another event, the mark is
        // removed: the next call may be DQBUF, so time must not advance before it.
        if found == 0 && !is_peek && !waits && self.clock.follows_programs() {
            self.poll_file(file, POLL_IN | POLL_OUT | POLL_PRI, true);
        }
        found
    }

    /// Notes that a program waits for events of a file.
    pub(super) fn poll_file_waits(&mut self, file: FileId, events: i16) {
        self.note_wait(file, true);
        if let Some(&kind) = self.kinds.files.get(&file) {
            self.with_kind(kind, |kind, run| kind.poll_waits(run, file, events));
        }
    }

    /// Cancels a call on a file.
    pub(super) fn abandon_call(&mut self, file: FileId, call: CallId) {
        self.waits.files.remove(&file);
        self.with_file(file, |kind, run| kind.abandon(run, file, call));
    }

    /// Releases a file whose last descriptor was closed.
    pub(super) fn release_file(&mut self, file: FileId) {
        self.waits.forget(file);
        self.with_file(file, |kind, run| kind.release(run, file));
        self.kinds.files.remove(&file);
    }

    /// Returns the result of a method. Of a failed one, reports the refusal and returns the errno. `is_final` is
    /// false if the front end will repeat the call, because data of the program was missing: the failure is then
    /// not reported.
    pub(super) fn judge<T>(
        &mut self,
        done: Option<(Result<T, Refused>, bool)>,
        is_final: bool,
    ) -> Result<T, Errno> {
        let (result, is_explained) = done.ok_or(Errno::ENODEV)?;
        result.map_err(|refused| self.record(refused, is_final && !is_explained))
    }
}

/// Converts a result for the front end.
pub(super) fn outcome(result: Result<Answer, Errno>) -> CallOutcome {
    match result {
        Ok(Answer::Done(value)) => CallOutcome::Done(value),
        Ok(Answer::Wait) => CallOutcome::Wait,
        Ok(Answer::Part(bytes)) => CallOutcome::Part(bytes),
        Err(errno) => CallOutcome::Fail(errno),
    }
}
