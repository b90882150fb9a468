use super::*;
use crate::{FdIdentity, Gathered, Made, On, Op, Origin};

const CALL: CallId = CallId(7);

fn call(have: &Gathered) -> Call<'_> {
    Call {
        id: CALL,
        origin: Origin::process(1, 2),
        on: On::Buffer(FdIdentity { dev: 1, ino: 2 }),
        op: Op::Resume { addr: 0 },
        nonblocking: false,
        have,
    }
}

#[test]
fn what_is_missing_is_asked_for_at_once() {
    let have = Gathered::default();
    let call = call(&have);
    let step = Step::new(&call);
    step.write(1, &[1]);
    assert_eq!(step.read(0x10, &mut [0; 4]), Err(Errno::NOT_GATHERED));
    assert_eq!(step.prepare_read(0x20, 8), Err(Errno::NOT_GATHERED));
    assert_eq!(
        step.descriptor(3, Detail::Name).err(),
        Some(Errno::NOT_GATHERED)
    );
    assert_eq!(step.range(0x30, 9).err(), Some(Errno::NOT_GATHERED));
    assert!(step.lacks());
    let Outcome::Need(need) = step.end(CallOutcome::Done(0)) else {
        panic!("the result counts although something was missing");
    };
    assert_eq!(need.bytes, [(0x10, 4), (0x20, 8)]);
    assert_eq!(need.descriptors, [(3, Detail::Name)]);
    assert_eq!(need.ranges, [(0x30, 9)]);
    assert!(!have.has(&need) && have.has(&Need::default()));
}

#[test]
fn gathered_parts_show_their_bytes_and_their_ends() {
    let mut have = Gathered::default();
    have.add_bytes(0x10, vec![1, 2, 3], true);
    have.add_bytes(0x20, vec![4, 5], false);
    let call = call(&have);
    let step = Step::new(&call);
    let read = |addr| {
        let mut out = [0; 2];
        step.read(addr, &mut out).map(|()| out)
    };
    assert_eq!(read(0x11), Ok([2, 3]));
    assert_eq!(read(0x12), Err(Errno::EFAULT), "past the end of a mapping");
    assert_eq!(read(0x20), Ok([4, 5]));
    assert!(!step.lacks());
    assert_eq!(read(0x21), Err(Errno::NOT_GATHERED), "not known");
    assert_eq!(step.prepare_read(0, MAX_GATHERED + 1), Ok(()));
}

#[test]
fn description_of_a_descriptor_also_names_it() {
    let known = |ino| Ok(Descriptor::named(FdIdentity { dev: 1, ino }, None));
    let mut have = Gathered::default();
    have.add_descriptor(3, Detail::Name, known(3));
    have.add_descriptor(4, Detail::Description, known(4));
    have.add_descriptor(5, Detail::Description, Err(Errno::EPERM));
    let call = call(&have);
    let step = Step::new(&call);
    let ino = |fd, of| step.descriptor(fd, of).map(|known| known.id.ino);
    assert_eq!(ino(3, Detail::Name), Ok(3));
    assert_eq!(ino(3, Detail::Description), Err(Errno::NOT_GATHERED));
    assert_eq!(ino(4, Detail::Name), Ok(4));
    assert_eq!(ino(5, Detail::Name), Err(Errno::EPERM));
}

#[test]
fn place_of_a_new_number_is_written_before() {
    let have = Gathered::default();
    let call = call(&have);
    let step = Step::new(&call);
    let made = Made::File {
        file: crate::FileId(1),
        name: c"made",
    };
    step.install(Install {
        made,
        cloexec: true,
        number: NumberAt::Address(0x40),
    });
    step.offer(0x50, Bytes::Shared(vec![1, 2, 3].into(), 1..3));
    let Outcome::Done(Ok(5), effects) = step.end(CallOutcome::Done(5)) else {
        panic!("not over");
    };
    let writes = effects
        .writes
        .iter()
        .map(|write| (write.addr, write.bytes.to_vec(), write.is_needed));
    assert_eq!(
        writes.collect::<Vec<_>>(),
        [(0x40, vec![0; 4], true), (0x50, vec![2, 3], false)]
    );
    assert_eq!(effects.installs.len(), 1);
}

#[test]
fn failed_call_keeps_effects_that_a_wait_lacks() {
    let have = Gathered::default();
    let call = call(&have);
    let ended = |done| {
        let step = Step::new(&call);
        step.write(1, &[1]);
        step.write(2, &[]);
        step.end(done)
    };
    for done in [CallOutcome::Fail(Errno::EINVAL), CallOutcome::Part(4)] {
        match ended(done) {
            Outcome::Done(Err(Errno::EINVAL), effects) | Outcome::Part(4, effects) => {
                assert_eq!(effects.writes.len(), 1);
                assert!(!effects.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(ended(CallOutcome::Wait), Outcome::Wait));
    let step = Step::new(&call);
    assert_eq!((step.call(), step.pid(), step.of().id), (CALL, 1, CALL));
}
