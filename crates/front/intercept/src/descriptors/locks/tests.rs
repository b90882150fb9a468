use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Number of bytes of a node in the model. The last one represents all bytes that follow, too.
const BYTES: usize = 12;

/// A step of a test. A task is a process. Tasks from 4 on share the descriptor tables of lower tasks.
#[derive(Clone, Copy, Debug)]
enum Step {
    Set(Ask),
    Unset(Ask),
    Flock { file: u64, write: Option<bool> },
    Close { task: u32, node: usize },
    EndFile(u64),
    EndTask(u32),
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    node: usize,
    file: u64,
    /// The process that locks, or `None` for a lock that the file owns.
    task: Option<u32>,
    write: bool,
    first: usize,
    last: usize,
}

fn shares(a: u32, b: u32) -> bool {
    a % 4 == b % 4
}

fn asks() -> impl Strategy<Value = Ask> {
    let who = (0..4u64, proptest::option::weighted(0.8, 1..7u32));
    (who, any::<bool>(), 0..BYTES, 0..BYTES).prop_map(|((file, task), write, a, b)| Ask {
        node: (file % 2) as usize,
        file,
        task,
        write,
        first: a.min(b),
        last: a.max(b),
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let flocks = (0..4u64, any::<Option<bool>>());
    prop_oneof![
        6 => asks().prop_map(Step::Set),
        3 => asks().prop_map(Step::Unset),
        3 => flocks.prop_map(|(file, write)| Step::Flock { file, write }),
        1 => (1..7u32, 0..2usize).prop_map(|(task, node)| Step::Close { task, node }),
        1 => (0..4u64).prop_map(Step::EndFile),
        1 => (1..7u32).prop_map(Step::EndTask),
    ]
}

/// The owner of a locked byte: a descriptor table, named by its lowest task, or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Table(u32),
    File(u64),
}

/// Each locked byte, and whether it is locked for writing.
type Bytes = BTreeMap<(usize, usize, Who), bool>;

#[derive(Debug, Default)]
struct Model {
    bytes: Bytes,
    /// The files through which each owner has locked a node.
    through: BTreeSet<(usize, Who, u64)>,
    /// The tasks that have locked, by the lowest task of their table.
    tasks: BTreeMap<u32, BTreeSet<u32>>,
    flocks: BTreeMap<u64, bool>,
}

impl Ask {
    fn who(&self) -> Who {
        self.task
            .map_or(Who::File(self.file), |task| Who::Table(task % 4))
    }

    fn range(&self, kind: i32) -> libc::flock {
        let is_end = self.last == BYTES - 1;
        let len = if is_end {
            0
        } else {
            self.last - self.first + 1
        };
        range(kind, self.first as i64, len as i64)
    }
}

impl Model {
    fn set(&mut self, ask: &Ask) -> bool {
        let is_free = !self.bytes.iter().any(|(&(node, byte, who), &write)| {
            node == ask.node
                && (ask.first..=ask.last).contains(&byte)
                && who != ask.who()
                && (write || ask.write)
        });
        if is_free {
            for byte in ask.first..=ask.last {
                self.bytes.insert((ask.node, byte, ask.who()), ask.write);
            }
        }
        self.note(ask);
        is_free
    }

    /// Records the owner of a call, even if the call locks nothing.
    fn note(&mut self, ask: &Ask) {
        self.through.insert((ask.node, ask.who(), ask.file));
        if let Some(task) = ask.task {
            self.tasks.entry(task % 4).or_default().insert(task);
        }
    }

    fn drop_all(&mut self, gone: impl Fn(usize, Who) -> bool) {
        self.bytes.retain(|&(node, _, who), _| !gone(node, who));
        self.through.retain(|&(node, who, _)| !gone(node, who));
        let through = &self.through;
        self.tasks
            .retain(|&table, _| through.iter().any(|(_, who, _)| *who == Who::Table(table)));
    }

    fn flock(&mut self, file: u64, write: Option<bool>) -> bool {
        self.flocks.remove(&file);
        let mut others = self
            .flocks
            .iter()
            .filter(|(other, _)| *other % 2 == file % 2);
        let is_free = write.is_none_or(|write| !others.any(|(_, held)| write || *held));
        if let Some(write) = write.filter(|_| is_free) {
            self.flocks.insert(file, write);
        }
        is_free
    }

    fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Set(ask) => return self.set(&ask),
            Step::Unset(ask) => {
                for byte in ask.first..=ask.last {
                    self.bytes.remove(&(ask.node, byte, ask.who()));
                }
                self.note(&ask);
            }
            Step::Flock { file, write } => return self.flock(file, write),
            Step::Close { task, node } => {
                self.drop_all(|of, who| of == node && who == Who::Table(task % 4));
            }
            Step::EndFile(file) => {
                let through = self.through.clone();
                self.drop_all(|node, who| through.contains(&(node, who, file)));
                self.flocks.remove(&file);
            }
            Step::EndTask(task) => {
                let tasks = self.tasks.get_mut(&(task % 4));
                let is_last = tasks.is_some_and(|tasks| tasks.remove(&task) && tasks.is_empty());
                if is_last {
                    self.drop_all(|_, who| who == Who::Table(task % 4));
                }
            }
        }
        true
    }
}

fn take(locks: &mut Locks, step: Step) -> bool {
    let mut set = |ask: Ask, kind| {
        let owner = match ask.task {
            None => Owner::File(FileId(ask.file)),
            Some(task) => Owner::Table(locks.table_for(task, shares)),
        };
        let pid = ask.task.unwrap_or_default();
        let at = (ask.node, FileId(ask.file));
        locks.set(at, (owner, pid), ask.range(kind))
    };
    match step {
        Step::Set(ask) if ask.write => set(ask, libc::F_WRLCK).is_ok(),
        Step::Set(ask) => set(ask, libc::F_RDLCK).is_ok(),
        Step::Unset(ask) => set(ask, libc::F_UNLCK).is_ok(),
        Step::Flock { file, write } => {
            let operation = match write {
                Some(true) => FlockOperation::NonBlockingLockExclusive,
                Some(false) => FlockOperation::NonBlockingLockShared,
                None => FlockOperation::Unlock,
            };
            let at = ((file % 2) as usize, FileId(file));
            locks.flock(at, operation).is_ok()
        }
        Step::Close { task, node } => {
            locks.close(locks.table_of(task, shares), node);
            true
        }
        Step::EndFile(file) => {
            locks.file_ended(FileId(file));
            true
        }
        Step::EndTask(task) => {
            locks.task_ended(task);
            true
        }
    }
}

/// Checks what a process without locks sees at each byte.
fn check(locks: &mut Locks, model: &Model) -> Result<(), TestCaseError> {
    for (node, byte) in (0..2).flat_map(|node| (0..BYTES).map(move |byte| (node, byte))) {
        let (file, asked) = (FileId(9), range(libc::F_WRLCK, byte as i64, 1));
        let found = locks.get((node, file), Owner::File(file), asked);
        let found = found.expect("asked");
        let held: Vec<(Who, bool)> = model
            .bytes
            .iter()
            .filter(|((of, at, _), _)| (*of, *at) == (node, byte))
            .map(|((.., who), write)| (*who, *write))
            .collect();
        let kind = i32::from(found.l_type);
        let is_of = |(who, write): &(Who, bool)| {
            *write == (kind == libc::F_WRLCK)
                && match who {
                    Who::File(_) => found.l_pid == -1,
                    Who::Table(table) => found.l_pid > 0 && found.l_pid as u32 % 4 == *table,
                }
        };
        match kind {
            libc::F_UNLCK => prop_assert_eq!(held, Vec::new()),
            _ => prop_assert!(held.iter().any(is_of), "{:?} among {:?}", found, held),
        }
    }
    locks.file_ended(FileId(9));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Locks of ranges equal those of a model that tracks each byte.
    #[test]
    fn locks_match_a_model_of_bytes(steps in proptest::collection::vec(steps(), 1..80)) {
        let (mut locks, mut model) = (Locks::default(), Model::default());
        for step in steps {
            prop_assert_eq!(take(&mut locks, step), model.step(step), "{:?}", step);
        }
        check(&mut locks, &model)?;
    }
}

/// A process that was just forked holds the lock files of its parent until it starts its program.
#[test]
fn locks_end_although_another_process_has_the_file() {
    let mut locks = Locks::default();
    let (ended, other) = (FileId(1), FileId(2));
    let written = range(libc::F_WRLCK, 0, 1);
    let exclusive = FlockOperation::NonBlockingLockExclusive;
    let elsewhere = range(libc::F_WRLCK, 1, 1);
    (locks.set((0, other), (Owner::File(other), 0), elsewhere)).expect("locked");
    (locks.set((0, ended), (Owner::File(ended), 0), written)).expect("locked");
    locks.flock((0, ended), exclusive).expect("locked");
    let holder = &locks.nodes[&0].holders[&Owner::File(ended)];
    let _of_child = holder.locks.try_clone().expect("a descriptor");

    assert!(locks.file_ended(ended));
    (locks.set((0, other), (Owner::File(other), 0), written)).expect("free");
    locks.flock((0, other), exclusive).expect("free");
}

#[test]
fn deadlock_is_found_through_other_waiters() {
    let [a, b, c, d] = [1, 2, 3, 4].map(|n| Owner::Table(TableId(n)));
    assert!(is_deadlock(a, b, &[(b, c), (c, a)]));
    assert!(!is_deadlock(a, b, &[(b, c), (c, d)]));
    // The other owners wait for each other, but not for `a`.
    assert!(!is_deadlock(a, b, &[(b, c), (c, b)]));
}
