//! Buffers queued by media requests.

use super::Bench;
use super::calls::seen;
use super::check::mmap_buffer;
use super::fake::{SIZE, done};
use super::std::vec;
use super::std::vec::Vec;
use crate::{
    BoundBuffer, BufferInfo, BufferState, Busy, Completion, Config, Error, Invalid, Memory, Queue,
    QueueBuffer, QueueType, Request, RequestHost, RequestId, RequestState, Requests,
};

/// Queues that accept media requests, and the requests by number.
struct Lab {
    queues: Vec<Bench>,
    requests: Vec<Request>,
    /// The calls that requests made, each with the number of its queue.
    story: Vec<(&'static str, u64)>,
}

struct Host<'a> {
    queues: &'a mut [Bench],
    story: &'a mut Vec<(&'static str, u64)>,
}

impl Host<'_> {
    fn bench(&mut self, what: &'static str, buffer: BoundBuffer) -> &mut Bench {
        self.story.push((what, buffer.queue));
        &mut self.queues[usize::try_from(buffer.queue).unwrap()]
    }
}

impl RequestHost for Host<'_> {
    fn prepare(&mut self, buffer: BoundBuffer) -> Result<(), Error> {
        let b = self.bench("prepare", buffer);
        b.session().req_prepare(buffer.index)
    }
    fn unprepare(&mut self, buffer: BoundBuffer) {
        let b = self.bench("unprepare", buffer);
        b.session().req_unprepare(buffer.index);
    }
    fn queue(&mut self, buffer: BoundBuffer) {
        let b = self.bench("queue", buffer);
        b.session().req_queue(buffer.index);
    }
    fn free(&mut self, buffer: BoundBuffer) {
        let b = self.bench("free", buffer);
        b.session().req_release(buffer.index);
    }
}

impl Lab {
    fn new(queues: usize, requests: usize, mode: Requests) -> Self {
        Self::of(queues, requests, mode, Memory::Mmap)
    }

    fn of(queues: usize, requests: usize, mode: Requests, memory: Memory) -> Self {
        let queue = |_| {
            let mut bench = Bench::with(QueueType::Output, |c| c.requests = mode);
            bench.reqbufs(memory, 4).unwrap();
            bench
        };
        Self {
            queues: (0..queues).map(queue).collect(),
            requests: (0..requests).map(|_| Request::default()).collect(),
            story: Vec::new(),
        }
    }

    fn put_as(
        &mut self,
        queue: usize,
        wanted: QueueBuffer<super::fake::FakeMem>,
        request: Option<usize>,
    ) -> Result<BufferInfo, Error> {
        let requests = &mut self.requests;
        let request = request.map(|n| (RequestId(n as u64), &mut requests[n]));
        let b = &mut self.queues[queue];
        let made = (b.session()).qbuf_in_request(wanted, queue as u64, 30, request);
        self.unbind_finished();
        made
    }

    /// QBUF with a media request.
    fn put(&mut self, queue: usize, index: u32, request: usize) -> Result<BufferInfo, Error> {
        self.put_as(queue, mmap_buffer(index, 1), Some(request))
    }

    fn enqueue(&mut self, request: usize) -> Result<(), Error> {
        self.on(request, |request, host| request.enqueue(host))
    }

    fn reinit(&mut self, request: usize) -> Result<(), Error> {
        self.on(request, |request, host| request.reinit(host))
    }

    fn on(
        &mut self,
        request: usize,
        call: impl FnOnce(&mut Request, &mut Host<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut host = Host {
            queues: &mut self.queues,
            story: &mut self.story,
        };
        let result = call(&mut self.requests[request], &mut host);
        self.unbind_finished();
        result
    }

    /// Removes the buffers that have left their requests from these requests.
    fn unbind_finished(&mut self) {
        for (queue, bench) in (0..).zip(&mut self.queues) {
            for (index, request) in bench.driver.requests_complete.drain(..) {
                let request = usize::try_from(request.0).unwrap();
                self.requests[request].unbind(BoundBuffer { queue, index });
            }
            bench.check();
        }
    }

    fn state(&self, request: usize) -> RequestState {
        self.requests[request].state()
    }

    fn finish(self) {
        self.queues.into_iter().for_each(Bench::finish);
    }
}

#[test]
fn a_request_goes_its_way() {
    let mut lab = Lab::new(1, 1, Requests::Optional);
    let mut wanted = mmap_buffer(2, 1);
    (wanted.frame_flags, wanted.timecode) = (8, Some([7; 16]));
    let info = lab.put_as(0, wanted, Some(0)).unwrap();
    let said = |info: BufferInfo| (info.frame_flags, info.timecode);
    assert_eq!(said(info), (8, Some([7; 16])));
    assert!(info.state == BufferState::InRequest && !info.prepared);
    assert_eq!(
        (info.state, info.request_fd),
        (BufferState::InRequest, Some(30))
    );
    assert_eq!(lab.queues[0].queue.queued_count(), 0);
    lab.enqueue(0).unwrap();
    assert_eq!(lab.state(0), RequestState::Queued);
    let info = lab.queues[0].query(2).unwrap();
    assert_eq!(info.state, BufferState::Queued);
    assert_eq!(info.request_fd, Some(30));
    lab.queues[0].streamon().unwrap();
    let token = lab.queues[0].driver.tokens.first().unwrap();
    assert_eq!(token.request(), Some(RequestId(0)));
    let seventh = Completion {
        sequence: 7,
        ..done()
    };
    lab.queues[0].complete(seventh).unwrap();
    lab.unbind_finished();
    assert_eq!(lab.state(0), RequestState::Complete);
    let info = lab.queues[0].dqbuf().unwrap();
    assert_eq!(info.sequence, 7);
    assert_eq!(
        (info.request_fd, said(info)),
        (Some(30), (8, Some([7; 16])))
    );
    assert_eq!(lab.queues[0].query(2).unwrap().request_fd, None);
    assert_eq!(seen(lab.enqueue(0)), -16, "complete is not idle");
    lab.reinit(0).unwrap();
    assert_eq!(lab.state(0), RequestState::Idle);
    assert_eq!(lab.put(0, 2, 0).unwrap().sequence, 0, "of the new frame");
    lab.finish();
}

/// Covers the rows measured on stock kernels, where media requests are optional.
#[test]
fn rows_of_requests() {
    let mut lab = Lab::new(1, 3, Requests::Optional);
    assert_eq!(seen(lab.put(0, 0, 0)), 0, "RQ2");
    assert_eq!(seen(lab.put(0, 0, 0)), -22, "RQ3");
    assert_eq!(seen(lab.queues[0].qbuf(1)), -16, "RQ4");
    assert_eq!(seen(lab.queues[0].qbuf(0)), -16, "the same one");
    assert_eq!(seen(lab.queues[0].prepare(0)), -22, "RQ5");
    assert_eq!(seen(lab.queues[0].remove(0, 1)), -16, "RQ6");
    // Linux accepts a second buffer, and warns when the request completes.
    assert_eq!(
        lab.put(0, 1, 0),
        Err(Busy::RequestHasBuffer { index: 0 }.into()),
        "RQ7"
    );
    assert_eq!(lab.queues[0].query(1).unwrap().state, BufferState::Dequeued);
    assert_eq!(seen(lab.enqueue(0)), 0, "RQ9");
    assert_eq!(seen(lab.put(0, 1, 0)), -16, "RQ10");
    assert_eq!(seen(lab.reinit(0)), -16, "RQ11");
    assert_eq!(seen(lab.queues[0].streamon()), 0, "RQ12");
    assert_eq!(seen(lab.enqueue(1)), -2, "RQ13");
    assert_eq!(lab.state(1), RequestState::Idle);
    lab.queues[0].streamoff().unwrap();
    lab.unbind_finished();
    assert_eq!(lab.state(0), RequestState::Complete, "by the cancel");
    assert_eq!(seen(lab.queues[0].qbuf(1)), 0, "RQ14");
    assert_eq!(seen(lab.put(0, 2, 2)), -16, "RQ15");
    let no_request = lab.put_as(0, mmap_buffer(2, 1), None);
    assert_eq!(no_request, Err(Busy::UsesQbuf.into()), "B12");
    lab.queues[0].streamoff().unwrap();
    let no_request = lab.put_as(0, mmap_buffer(2, 1), None);
    assert_eq!(no_request, Err(Invalid::NoRequest { fd: 30 }.into()), "B13");
    assert_eq!(
        seen(lab.queues[0].qbuf(2)),
        0,
        "a failed QBUF chooses no way of queueing"
    );
    lab.finish();
}

#[test]
fn requests_may_be_refused_or_required() {
    let mut none = Lab::new(1, 1, Requests::None);
    assert_eq!(none.put(0, 0, 0), Err(Error::RequestUnsupported), "RQ2n");
    none.finish();
    let mut required = Lab::new(1, 1, Requests::Required);
    assert_eq!(seen(required.queues[0].qbuf(0)), -53, "RQ1");
    assert_eq!(required.queues[0].qbuf(0), Err(Error::RequestRequired));
    required.put(0, 0, 0).unwrap();
    assert_eq!(seen(required.queues[0].qbuf(1)), -53, "RQ4");
    required.finish();
    let mut config = Config::new(7, QueueType::Output);
    config.requests = Requests::Optional;
    config.min_queued_buffers = 2;
    let refused = Queue::<super::fake::FakeMem>::new(config).map(|_| ());
    let why = Invalid::RequestsWithMinBuffers { min: 2 };
    assert_eq!(refused, Err(why.into()));
}

#[test]
fn all_buffers_are_prepared_or_none() {
    let mut lab = Lab::new(3, 1, Requests::Optional);
    for queue in 0..3 {
        lab.put(queue, 1, 0).unwrap();
    }
    lab.queues[2].mem.get().fail_in = Some(0);
    assert_eq!(seen(lab.enqueue(0)), -12);
    let story = vec![
        ("prepare", 0),
        ("prepare", 1),
        ("prepare", 2),
        ("unprepare", 1),
        ("unprepare", 0),
    ];
    assert_eq!(core::mem::take(&mut lab.story), story);
    assert_eq!(lab.state(0), RequestState::Idle);
    for bench in &mut lab.queues {
        let info = bench.query(1).unwrap();
        assert!(info.state == BufferState::InRequest && !info.prepared);
    }
    lab.enqueue(0).unwrap();
    for (done_so_far, queue) in (0..3).enumerate() {
        assert_eq!(lab.requests[0].buffers().len(), 3 - done_so_far);
        assert_eq!(lab.state(0), RequestState::Queued);
        lab.queues[queue].streamon().unwrap();
        lab.queues[queue].complete(done()).unwrap();
        lab.unbind_finished();
    }
    assert_eq!(lab.state(0), RequestState::Complete);
    lab.finish();
}

#[test]
fn emptied_request_returns_buffers_unchanged() {
    let mut lab = Lab::new(1, 1, Requests::Optional);
    lab.queues[0].prepare(0).unwrap();
    let info = lab.put(0, 0, 0).unwrap();
    assert!(info.state == BufferState::InRequest && info.prepared);
    lab.reinit(0).unwrap();
    let info = lab.queues[0].query(0).unwrap();
    assert_eq!((info.state, info.request_fd), (BufferState::Dequeued, None));
    assert!(info.prepared, "by PREPARE_BUF");
    lab.put(0, 0, 0).unwrap();
    lab.enqueue(0).unwrap();
    assert_eq!(lab.queues[0].query(0).unwrap().state, BufferState::Queued);
    lab.finish();
}

#[test]
fn a_cancel_takes_buffers_out_of_requests() {
    for free in [false, true] {
        let mut lab = Lab::new(1, 2, Requests::Optional);
        lab.put(0, 0, 0).unwrap();
        lab.put(0, 1, 1).unwrap();
        lab.enqueue(1).unwrap();
        if free {
            assert_eq!(lab.queues[0].reqbufs(Memory::Mmap, 0), Ok(0));
        } else {
            lab.queues[0].streamoff().unwrap();
        }
        lab.unbind_finished();
        assert_eq!(lab.state(0), RequestState::Idle);
        assert!(lab.requests[0].buffers().is_empty());
        assert_eq!(seen(lab.enqueue(0)), -2);
        assert_eq!(lab.state(1), RequestState::Complete);
        lab.finish();
    }
}

#[test]
fn a_dropped_token_completes_its_request() {
    let mut lab = Lab::new(1, 1, Requests::Optional);
    lab.put(0, 0, 0).unwrap();
    lab.queues[0].streamon().unwrap();
    lab.enqueue(0).unwrap();
    lab.queues[0].driver.tokens.clear();
    assert!(lab.queues[0].query(0).unwrap().error);
    lab.unbind_finished();
    assert_eq!(lab.state(0), RequestState::Complete);
    lab.finish();
}

#[test]
fn a_dma_buf_in_a_request_is_kept_and_let_go() {
    let mut lab = Lab::of(2, 1, Requests::Optional, Memory::DmaBuf);
    for queue in 0..2 {
        let bench = &mut lab.queues[queue];
        let object = bench.mem.get().new_object(SIZE);
        let wanted = bench.dmabuf(0, Some(object), 0, 0);
        lab.put_as(queue, wanted, Some(0)).unwrap();
        assert_eq!(lab.queues[queue].mem.live_references(), 1);
    }
    // The second buffer cannot be attached. The first keeps its dma-buf reference for another attempt.
    lab.queues[1].mem.get().fail_in = Some(1);
    assert_eq!(seen(lab.enqueue(0)), -12);
    assert_eq!(lab.queues[1].mem.live_references(), 1);
    lab.enqueue(0).unwrap();
    for bench in &mut lab.queues {
        assert_eq!(bench.mem.live_references(), 1, "the plane's own");
        bench.streamoff().unwrap();
    }
    lab.unbind_finished();
    assert_eq!(lab.state(0), RequestState::Complete);
    // The request is emptied without having been queued.
    lab.reinit(0).unwrap();
    let bench = &mut lab.queues[0];
    let object = bench.mem.get().new_object(SIZE);
    let wanted = bench.dmabuf(1, Some(object), 0, 0);
    lab.put_as(0, wanted, Some(0)).unwrap();
    lab.reinit(0).unwrap();
    assert_eq!(
        lab.queues[0].mem.live_references(),
        1,
        "index 0 has its own still"
    );
    lab.finish();
}

#[test]
fn plane_values_are_checked_at_request_qbuf() {
    let mut lab = Lab::new(1, 1, Requests::Optional);
    let mut wanted = mmap_buffer(0, 1);
    wanted.planes[0].as_mut().unwrap().payload_bytes = SIZE + 1;
    let refused = lab.put_as(0, wanted, Some(0));
    assert!(matches!(
        refused,
        Err(Error::Invalid(Invalid::PayloadAboveLength { .. }))
    ));
    let mut wanted = mmap_buffer(0, 1);
    wanted.field = 7;
    let refused = lab.put_as(0, wanted, Some(0));
    assert_eq!(refused, Err(Invalid::FieldAlternate.into()));
    assert!(lab.requests[0].buffers().is_empty());
    lab.queues[0].queue.set_error();
    assert_eq!(lab.put(0, 0, 0), Err(Error::QueueError));
    lab.finish();
}

#[test]
fn device_error_refuses_request_queueing() {
    let mut lab = Lab::new(1, 1, Requests::Optional);
    lab.put(0, 0, 0).unwrap();
    lab.queues[0].queue.set_error();
    assert_eq!(lab.enqueue(0), Err(Error::QueueError));
    assert_eq!(lab.state(0), RequestState::Idle);
    lab.finish();
}

/// Checks that requests and queues agree about the buffers in requests.
fn check_bonds(lab: &mut Lab) {
    use super::std::collections::BTreeSet;
    let mut named = BTreeSet::new();
    for request in &lab.requests {
        let buffers = request.buffers();
        let states = buffers.iter().map(|&BoundBuffer { queue, index }| {
            assert!(named.insert((queue, index)), "in two requests");
            let bench = &lab.queues[usize::try_from(queue).unwrap()];
            bench.queue.buffer(index).unwrap().state
        });
        let states: Vec<_> = states.collect();
        let is = |wanted: &[BufferState]| states.iter().all(|state| wanted.contains(state));
        let queues: BTreeSet<_> = buffers.iter().map(|buffer| buffer.queue).collect();
        assert_eq!(queues.len(), buffers.len(), "two of a queue");
        match request.state() {
            RequestState::Idle => assert!(is(&[BufferState::InRequest])),
            RequestState::Queued => {
                assert!(!buffers.is_empty() && is(&[BufferState::Queued, BufferState::Active]));
            }
            RequestState::Complete => assert!(buffers.is_empty()),
        }
    }
    for (queue, bench) in (0..).zip(&lab.queues) {
        for (index, place) in (0..).zip(&bench.queue.buffers) {
            let Some(buffer) = place else { continue };
            let bound = buffer.request.is_some() || buffer.state == BufferState::InRequest;
            assert_eq!(bound, named.contains(&(queue, index)), "{queue} {index}");
        }
    }
}

#[test]
fn whatever_is_called_in_whatever_order() {
    for seed in 0..40_u64 {
        let memory = [Memory::Mmap, Memory::DmaBuf][usize::try_from(seed % 2).unwrap()];
        let mut lab = Lab::of(2, 3, Requests::Optional, memory);
        let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |below: usize| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            usize::try_from(word % below as u64).unwrap()
        };
        let mut completed = 0;
        for _ in 0..400 {
            let (queue, request) = (random(2), random(3));
            let index = u32::try_from(random(5)).unwrap();
            let bench = &mut lab.queues[queue];
            match random(14) {
                0..=2 => {
                    let wanted = bench.request(index);
                    let _ = lab.put_as(queue, wanted, Some(request));
                }
                3 | 4 => {
                    if random(4) == 0 {
                        lab.queues[random(2)].mem.get().fail_in = Some(random(6) as u64);
                    }
                    let _ = lab.enqueue(request);
                    lab.queues
                        .iter_mut()
                        .for_each(|b| b.mem.get().fail_in = None);
                }
                5 => drop(lab.reinit(request)),
                6 => drop(bench.qbuf(index)),
                7 => drop(bench.prepare(index)),
                8 => drop(bench.streamon()),
                9 if random(4) == 0 => drop(bench.streamoff()),
                10 | 11 if !bench.driver.tokens.is_empty() => {
                    completed += u32::from(bench.complete(done()).is_ok());
                }
                12 if random(3) == 0 => bench.driver.tokens.clear(),
                12 if random(6) == 0 => {
                    let _ = bench.reqbufs(memory, index);
                }
                _ => drop(bench.dqbuf()),
            }
            // Each queue notices dropped tokens at its next call.
            for bench in &mut lab.queues {
                bench.session().reap();
            }
            lab.unbind_finished();
            check_bonds(&mut lab);
        }
        assert!(completed > 0, "seed {seed}");
        lab.finish();
    }
}
