//! Media requests, which stateless decoders need for each OUTPUT buffer.

use crate::api::{self, Arg};
use crate::model::{At, BufferHolder};
use crate::plan::Dice;
use crate::run::{Check, LOST, Sim};
use crate::slices;
use vb3_frontend::{Devices as _, FileId, Program as _};
use vb3_v4l2::sys::{
    MEDIA_IOC_REQUEST_ALLOC, MEDIA_REQUEST_IOC_QUEUE, MEDIA_REQUEST_IOC_REINIT, VIDIOC_QBUF,
    VIDIOC_S_EXT_CTRLS,
};

/// POLLPRI: the request is complete.
const COMPLETE: i16 = 2;
/// Maximum number of requests that a program keeps open.
const MOST_KEPT: usize = 8;

/// The result of a call, as [`Sim::ioctl`] returns it.
type Done = Result<Option<i64>, i32>;

impl Sim<'_> {
    /// Queues an OUTPUT buffer by a new request. Returns the request's descriptor, or `None` if the program
    /// dropped the request instead of queueing it.
    pub(crate) fn queue_by_request(
        &mut self,
        at: At,
        index: u32,
        (arg, plane): (&mut Arg, Option<&mut Arg>),
        dice: &mut Dice,
    ) -> Check<Done> {
        let program = self.file(at.0)?.program;
        let (fd, request) = match self.new_request(at, program)? {
            Ok(made) => made,
            Err(errno) => return Ok(Err(errno)),
        };
        api::put_request(arg, fd);
        let is_programs = self.queue(at)?.holder(index) == Some(BufferHolder::Program);
        let is_dropped = is_programs && dice.percent(5);
        let done = self.fill_request(at, fd, (arg, plane))?;
        let done = match done {
            Ok(_) if is_dropped => Ok(None),
            Ok(_) => {
                let mut none = Arg::new(0, &[]);
                let queued = self.call(
                    (request, program),
                    MEDIA_REQUEST_IOC_QUEUE,
                    (&mut none, None),
                    None,
                )?;
                queued.map(|_| Some(fd.into()))
            }
            Err(errno) => Err(errno),
        };
        if !matches!(done, Ok(Some(_))) || dice.percent(30) {
            self.close_request(program, fd);
        }
        Ok(done)
    }

    /// Sets the parameters of a picture in a request, and puts the picture's buffer into the request.
    fn fill_request(
        &mut self,
        at: At,
        fd: i32,
        (arg, plane): (&mut Arg, Option<&mut Arg>),
    ) -> Check<Done> {
        let (width, height, ..) = self.queue(at)?.picture;
        let (mut controls, mut values) = slices::parameters(width, height, fd);
        let args = (&mut controls, Some(&mut values));
        let set = self.ioctl(at.0, VIDIOC_S_EXT_CTRLS, args, None)?;
        if let Err(errno) = set {
            self.expect(at, "S_EXT_CTRLS", errno, &[])?;
            return Ok(Err(errno));
        }
        self.ioctl(at.0, VIDIOC_QBUF, (arg, plane), None)
    }

    /// Allocates a request from the media device of a file's node.
    fn new_request(&mut self, at: At, program: u32) -> Check<Result<(i32, FileId), i32>> {
        let media = self
            .node_of(at)?
            .media
            .ok_or("the node has no media device")?;
        let process = self.programs.get(&program).ok_or(LOST)?;
        let oldest = process.requests.borrow().keys().next().copied();
        let is_full = process.requests.borrow().len() >= MOST_KEPT;
        let opened = self.run.open(media, 2, process.origin());
        if let Some(oldest) = oldest.filter(|_| is_full) {
            self.close_request(program, oldest);
        }
        let file = match opened {
            Ok(file) => file,
            Err(e) => return Ok(Err(e.0)),
        };
        let mut arg = Arg::new(4, &[]);
        let target = (file, program);
        let made = self.call(target, MEDIA_IOC_REQUEST_ALLOC, (&mut arg, None), None)?;
        self.run.release(file);
        // CAST: keeps the descriptor's bits.
        let fd = arg.u32(0) as i32;
        let request = self.process(program)?.request(fd);
        self.note(|| format!("program {program} makes request {fd}: {made:?}"));
        match (made, request) {
            (Ok(_), Some(request)) => Ok(Ok((fd, request))),
            (Ok(_), None) => Err(format!("REQUEST_ALLOC gave {fd}, which is no request")),
            (Err(errno), _) => Ok(Err(errno)),
        }
    }

    /// Closes a program's descriptor of a request.
    pub(crate) fn close_request(&mut self, program: u32, fd: i32) {
        let process = self.programs.get(&program);
        let file = process.and_then(|process| process.requests.borrow_mut().remove(&fd));
        if let Some(file) = file {
            self.note(|| format!("program {program} closes request {fd}"));
            self.run.release(file);
        }
    }

    /// Checks that a request is complete and reusable, because the program has its OUTPUT buffer back.
    pub(crate) fn check_complete(&mut self, program: u32, fd: i32) -> Check {
        let Some(file) = self.process(program)?.request(fd) else {
            return Ok(());
        };
        if self.run.poll(file, COMPLETE) != COMPLETE {
            return Err(format!(
                "request {fd} is not complete, although its buffer is back"
            ));
        }
        let mut none = Arg::new(0, &[]);
        let target = (file, program);
        let done = self.call(target, MEDIA_REQUEST_IOC_REINIT, (&mut none, None), None)?;
        self.close_request(program, fd);
        done.map(drop)
            .map_err(|errno| format!("REINIT of a complete request: errno {errno}"))
    }
}
