//! Random programs, and one program with each pair of failing host calls. `VB3_STEPS` sets the number of random steps.

use std::mem::forget;
use vb3_dma::mapped::{Bidirectional, CpuOwned, Mapped, OwnedMemory};
use vb3_dma::{
    Attrs, Direction, DmaOps, Error, FlushPolicy, Mapper, Mapping, Memory, PhysAddr, Segment, Vmap,
};
use vb3_misuse::{DEVICES, FRAME, Host};

const BOTH: Direction = Direction::Bidirectional;
const NONE: Attrs = Attrs::empty();

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }

    fn take<T>(&mut self, list: &mut Vec<T>) -> Option<T> {
        (!list.is_empty()).then(|| list.swap_remove(self.below(list.len())))
    }

    fn look<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len().max(1)))
    }
}

type Dma<'a> = &'a Mapper<Host>;

/// The memory, mappings and guards that a program holds.
#[derive(Default)]
struct Held<'a> {
    memories: Vec<Memory<Host>>,
    mappings: Vec<Mapping<Host>>,
    views: Vec<Vmap<Host>>,
    owned: Vec<OwnedMemory<&'a Mapper<Host>>>,
    guards: Vec<Mapped<Dma<'a>, OwnedMemory<Dma<'a>>, Bidirectional>>,
    handed: Vec<CpuOwned<Dma<'a>, OwnedMemory<Dma<'a>>, Bidirectional>>,
    /// Whether the untrusted device uses the address space that it shares with device 0.
    has_joined: bool,
}

/// Lends a frame to a device. The program reuses it only if the layer does not say that a device may still reach it.
fn lend(dma: &Mapper<Host>, dev: u8) -> Result<(), Error> {
    let Some(frame) = dma.platform().take_frame() else {
        return Ok(());
    };
    let run = Segment::pages(PhysAddr::new(frame * FRAME), FRAME);
    let mapped = dma
        .device(dev)
        .and_then(|device| device.map_raw(run, Bidirectional));
    let ended = mapped.and_then(|mapped| mapped.unmap().map(drop));
    let is_stuck = (0..)
        .map_while(|index| dma.stuck_memory(index))
        .any(|stuck| {
            let (first, end) = (stuck.addr.get(), stuck.addr.get() + stuck.len);
            (first..end).contains(&run.addr.get())
        });
    assert_eq!(
        is_stuck,
        matches!(ended, Err(Error::StillReachable(_))),
        "{ended:?}"
    );
    if !is_stuck {
        dma.platform().give_frame(frame);
    }
    ended
}

/// One step. If one of its calls fails, the step ends there.
fn step<'a>(dma: &'a Mapper<Host>, held: &mut Held<'a>, dice: &mut Random) -> Option<()> {
    let dev = dice.below(DEVICES.into()) as u8;
    held.has_joined |= dev == 1 && dma.device(1).is_ok();
    match dice.below(24) {
        0 => held.memories.push(dma.alloc_virtual(FRAME).ok()?),
        1 => held
            .memories
            .push(dma.alloc_coherent(dev, 2 * FRAME, NONE).ok()?),
        2 => held
            .memories
            .push(dma.pin_user(&(), dice.below(2000) as u64, 100, BOTH).ok()?),
        3 => held
            .memories
            .push(dma.share(dice.look(&held.memories)?).ok()?),
        4..7 => held
            .mappings
            .push(dma.map(dev, dice.look(&held.memories)?, BOTH, NONE).ok()?),
        7..9 => dma.unmap(dice.take(&mut held.mappings)?, NONE),
        9..11 => dma.free(dice.take(&mut held.memories)?),
        11 => held.views.push(dma.vmap(dice.look(&held.memories)?).ok()?),
        12 => dma.vunmap(dice.take(&mut held.views)?),
        13 => held.owned.push(dma.device(dev).ok()?.alloc(FRAME).ok()?),
        14 => {
            let memory = dice.take(&mut held.owned)?;
            held.owned.push(memory.share().ok()?);
            held.guards
                .push(dma.device(dev).ok()?.map(memory, Bidirectional).ok()?);
        }
        15 => held
            .handed
            .push(dice.take(&mut held.guards)?.into_cpu().ok()?),
        16 => held
            .guards
            .push(dice.take(&mut held.handed)?.into_device().ok()?),
        17 => held.owned.push(dice.take(&mut held.guards)?.unmap().ok()?),
        18 => match dice.below(20) {
            0 => forget(dice.take(&mut held.mappings)?),
            1 => forget(dice.take(&mut held.guards)?),
            2 => forget(dice.take(&mut held.memories)?),
            3 => drop(dice.take(&mut held.handed)?),
            _ => drop(dice.take(&mut held.owned)?),
        },
        19 => {
            let policy = [FlushPolicy::Strict, FlushPolicy::Lazy][dice.below(2)];
            dma.set_flush_policy(dev, policy).ok()?;
        }
        20 => dma.flush().ok()?,
        21 => lend(dma, dev).ok()?,
        22 => {
            dma.remove_device(dev).ok()?;
            held.has_joined &= dev != 1;
        }
        // The next calls all fail, or two of them.
        23 if dice.below(8) == 0 => dma.platform().fail_next(&Vec::from_iter(0..12)),
        _ => dma
            .platform()
            .fail_next(&[dice.below(12) as u64, dice.below(12) as u64]),
    }
    Some(())
}

fn check(dma: &Mapper<Host>, at: impl std::fmt::Debug) {
    assert_eq!(dma.platform().take_violations(), [""; 0], "{at:?}");
}

fn program(seed: u64, steps: usize) {
    let dma = Mapper::new(Host::new(&[])).expect("a mapper");
    let (mut held, mut dice) = (Held::default(), Random(seed));
    for number in 0..steps {
        let _ = step(&dma, &mut held, &mut dice);
        check(&dma, (seed, number));
        let is_seen = held.has_joined && dma.platform().sees_partial_frame(0);
        assert!(!is_seen, "{:?}", (seed, number));
    }
}

#[test]
fn random_programs_keep_memory_in_reach() {
    let steps = std::env::var("VB3_STEPS")
        .ok()
        .and_then(|steps| steps.parse().ok());
    let programs = steps.unwrap_or(50_000) / 500;
    (0..programs).for_each(|seed| program(seed, 500));
}

/// Uses each part of the layer once, and ends all that it can.
fn life(dma: &Mapper<Host>) -> Result<(), Error> {
    let (trusted, untrusted, camera, bounced) = (
        dma.device(0)?,
        dma.device(1),
        dma.device(2)?,
        dma.device(3)?,
    );
    dma.set_flush_policy(2, FlushPolicy::Lazy)?;
    let ring = camera.alloc_coherent(FRAME);
    let pin = trusted.pin(&(), 64, 200, Bidirectional)?;
    for device in [Ok(trusted), untrusted, Ok(camera), Ok(bounced)]
        .into_iter()
        .flatten()
    {
        let memory = device.alloc(2 * FRAME)?;
        let shared = device
            .map(&pin, Bidirectional)
            .and_then(|mapped| Ok(mapped.into_cpu()?));
        let owned = device.map(memory.share()?, Bidirectional)?;
        drop(memory);
        drop(owned.into_cpu()?.into_device()?.unmap()?);
        drop(shared);
        let _ = lend(dma, device.id());
    }
    drop((ring, pin));
    dma.flush()
}

#[test]
fn no_pair_of_faults_frees_memory_in_reach() {
    let calls = {
        let dma = Mapper::new(Host::new(&[])).expect("a mapper");
        life(&dma).expect("no fault");
        assert!(dma.live().is_empty(), "{:?}", dma.live());
        dma.platform().calls()
    };
    assert!(calls > 30, "{calls}");
    for first in 0..calls {
        for second in first + 1..=calls {
            let dma = Mapper::new(Host::new(&[first, second])).expect("a mapper");
            let _ = life(&dma);
            dma.platform().fail_next(&[]);
            let _ = dma.flush();
            check(&dma, (first, second));
        }
    }
}
