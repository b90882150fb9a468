use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Bytes of a node; the last one represents all that follow.
const BYTES: usize = 12;

/// A step of a test. A task is a process; tasks from 4 on share the tables of those below.
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
    /// `None` for a lock of the file.
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

/// The owner of a locked byte: a table by its lowest task, or a file.
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
    /// The files that each owner has locked a node through.
    through: BTreeSet<(usize, Who, u64)>,
    /// The tasks that have locked, by table.
    tasks: BTreeMap<u32, BTreeSet<u32>>,
    flocks: BTreeMap<u64, bool>,
}

impl Ask {
    fn who(&self) -> Who {
        self.task
            .map_or(Who::File(self.file), |task| Who::Table(task % 4))
    }

    fn record(&self, owner: Owner) -> Record {
        let at = |byte: usize| i64::try_from(byte).unwrap();
        let is_end = self.last == BYTES - 1;
        Record {
            owner,
            write: self.write,
            first: at(self.first),
            last: if is_end { i64::MAX } else { at(self.last) },
            pid: self.task.unwrap_or_default(),
        }
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
            self.through.insert((ask.node, ask.who(), ask.file));
        }
        // A refused task still shares the table of the tasks that hold locks.
        if let Some(task) = ask.task {
            self.tasks.entry(task % 4).or_default().insert(task);
        }
        is_free
    }

    fn drop_all(&mut self, gone: impl Fn(usize, Who) -> bool) {
        self.bytes.retain(|&(node, _, who), _| !gone(node, who));
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

    /// Forgets owners without locks.
    fn tidy(&mut self) {
        let held: BTreeSet<(usize, Who)> = self.bytes.keys().map(|k| (k.0, k.2)).collect();
        self.through
            .retain(|&(node, who, _)| held.contains(&(node, who)));
        self.tasks
            .retain(|&table, _| held.iter().any(|(_, who)| *who == Who::Table(table)));
    }
}

fn take(locks: &mut Locks, step: Step) -> bool {
    let owner = |locks: &mut Locks, ask: &Ask, adds: bool| match ask.task {
        None => Owner::File(FileId(ask.file)),
        Some(task) if adds => Owner::Table(locks.table_for(task, shares)),
        Some(task) => Owner::Table(locks.table_of(task, shares)),
    };
    match step {
        Step::Set(ask) => {
            let owner = owner(locks, &ask, true);
            locks
                .set((ask.node, FileId(ask.file)), ask.record(owner))
                .is_ok()
        }
        Step::Unset(ask) => {
            let owner = owner(locks, &ask, false);
            locks.unset(ask.node, ask.record(owner)).is_ok()
        }
        Step::Flock { file, write } => locks.flock((file % 2) as usize, FileId(file), write),
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

/// The bytes that the locks cover.
fn covered(locks: &Locks) -> Bytes {
    let mut bytes = BTreeMap::new();
    for (&node, of) in &locks.nodes {
        for record in &of.records {
            let who = match record.owner {
                Owner::File(file) => Who::File(file.0),
                Owner::Table(id) => {
                    let table = locks.tables.iter().find(|(table, _)| *table == id);
                    Who::Table(table.expect("known").1[0] % 4)
                }
            };
            for byte in record.first..=record.last.min(BYTES as i64 - 1) {
                let byte = usize::try_from(byte).unwrap();
                let before = bytes.insert((node, byte, who), record.write);
                assert_eq!(before, None, "{who:?} holds a byte twice");
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Locks of ranges equal those of a model that tracks each byte.
    #[test]
    fn locks_match_a_model_of_bytes(steps in proptest::collection::vec(steps(), 1..80)) {
        let (mut locks, mut model) = (Locks::default(), Model::default());
        for step in steps {
            prop_assert_eq!(take(&mut locks, step), model.step(step), "{:?}", step);
            model.tidy();
            prop_assert_eq!(covered(&locks), model.bytes.clone(), "{:?}", step);
            // Adjacent locks merge, as a program sees by F_GETLK.
            for of in locks.nodes.values() {
                for (i, a) in of.records.iter().enumerate() {
                    let mut others = of.records[i + 1..].iter();
                    prop_assert!(!others.any(|b| a.owner == b.owner && a.joins(b)));
                }
            }
            prop_assert_eq!(locks.has_records(), !model.tasks.is_empty());
        }
    }
}

#[test]
fn deadlock_is_found_through_other_waiters() {
    let [a, b, c, d] = [1, 2, 3, 4].map(|n| Owner::Table(TableId(n)));
    assert!(is_deadlock(a, b, &[(b, c), (c, a)]));
    assert!(!is_deadlock(a, b, &[(b, c), (c, d)]));
    // The others wait for each other, but not for this one.
    assert!(!is_deadlock(a, b, &[(b, c), (c, b)]));
}

#[test]
fn locks_of_a_node_are_bounded() {
    let mut locks = Locks::default();
    let mut set = |first| {
        let owner = Owner::File(FileId(1));
        let (write, last, pid) = (true, first, 0);
        let record = Record {
            owner,
            write,
            first,
            last,
            pid,
        };
        locks.set((0, FileId(1)), record)
    };
    let set_all = (0..i64::try_from(MAX_LOCKS).unwrap()).all(|n| set(n * 2).is_ok());
    assert!(set_all);
    assert_eq!(set(1 << 20), Err(Refused::Full));
}
