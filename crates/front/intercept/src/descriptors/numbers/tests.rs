use std::cell::Cell;

use proptest::prelude::*;

use super::*;

const ID: FdIdentity = FdIdentity { dev: 1, ino: 2 };
const FILE: Watched = Watched::Buffer(ID);

fn closed() -> Vec<Closed> {
    let (file, number, id) = (FILE, 700, ID);
    vec![Closed { file, number, id }]
}

fn over(table: &mut NumberTable, tid: Option<u32>) -> Vec<Watched> {
    table.over(tid, |_, _| true, |_| true)
}

/// Lets a thread use a number, so that the table asks the kernel for its file. Returns whether the table keeps the
/// kernel's answer.
fn keeps(table: &mut NumberTable, tid: u32, fd: i32) -> bool {
    look(table, tid, fd);
    table.get(tid, fd) == Some(ID)
}

fn look(table: &mut NumberTable, tid: u32, fd: i32) {
    let found = table.identify((tid, || tid), fd, || true, || Ok(Some(ID)));
    assert_eq!(found, Ok(Some(ID)));
}

#[test]
fn a_close_is_over_when_its_thread_sleeps() {
    for (numbers, sleeps, is_over) in [
        ((800, 800), true, true),
        ((800, 800), false, false),
        // The thread may sleep before it closes the last number.
        ((800, 801), true, false),
    ] {
        let mut table = NumberTable::default();
        table.close((10, 10), numbers, false, Vec::new());
        let check = |table: &mut NumberTable| table.over(None, |_, _| true, |_| !sleeps);
        check(&mut table);
        assert!(table.is_changing() && table.next_due().is_some_and(|due| due <= CHECK_DELAY));
        table.closing[0].since -= CHECK_DELAY;
        check(&mut table);
        assert_eq!(!table.is_changing(), is_over);
        assert_eq!(keeps(&mut table, 11, 800), is_over);
    }
}

#[test]
fn close_concerns_sharers_until_the_next_call() {
    let mut table = NumberTable::default();
    for tid in [10, 11] {
        assert!(keeps(&mut table, tid, 800) && keeps(&mut table, tid, 801));
    }
    table.close((10, 10), (800, 800), false, Vec::new());
    // The kernel may not have closed the number yet, so its present file must not be kept.
    assert!(!keeps(&mut table, 10, 800) && !keeps(&mut table, 11, 800));
    over(&mut table, Some(11));
    assert!(!keeps(&mut table, 11, 800));
    over(&mut table, Some(10));
    assert!(keeps(&mut table, 11, 800) && keeps(&mut table, 11, 801));
    table.close((10, 10), (3, u32::MAX), false, Vec::new());
    assert_eq!((table.get(11, 800), table.get(11, 801)), (None, None));
    table.ended(10);
    assert!(keeps(&mut table, 11, 801));
}

/// A program that closes numbers all the time must not cost another program its entries.
#[test]
fn busy_closer_costs_others_one_look() {
    let (mut table, looks) = (NumberTable::default(), Cell::new(0));
    let look = |table: &NumberTable| {
        let ask = || {
            looks.update(|looks| looks + 1);
            Ok(Some(ID))
        };
        let found = table.identify((20, || 20), 800, || true, ask);
        assert_eq!(found, Ok(Some(ID)));
    };
    look(&table);
    for _ in 0..1000 {
        table.close((10, 10), (800, 800), false, Vec::new());
        look(&table);
        // The kernel compares the tables after the call.
        for pair in table.take_doubts() {
            assert_eq!(pair, (10, 20));
            table.set_apart(pair);
        }
        over(&mut table, Some(10));
    }
    assert_eq!(looks.get(), 3, "twice more because of the first close");
    // A thread that begins with another program's former id may share a table with anybody.
    table.ended(10);
    table.close((10, 10), (800, 800), false, Vec::new());
    assert_eq!(table.get(20, 800), None);
    assert_eq!(table.take_doubts(), BTreeSet::from([(10, 20)]));
    assert_eq!(table.apart.len(), 0);
}

#[test]
fn entries_of_a_number_are_limited() {
    let mut table = NumberTable::default();
    for tid in 1..=1024 {
        assert!(keeps(&mut table, tid, 800));
    }
    assert!(!keeps(&mut table, 2000, 800) && keeps(&mut table, 2000, 801));
    table.ended(7);
    assert!(keeps(&mut table, 2000, 800));
}

#[test]
fn threads_of_a_process_are_never_compared() {
    let mut table = NumberTable::default();
    for tid in [10, 11] {
        let kept = table.identify((tid, || 10), 800, || true, || Ok(Some(ID)));
        assert_eq!(kept, Ok(Some(ID)));
    }
    table.close((10, 10), (800, 800), false, Vec::new());
    assert_eq!(table.get(11, 800), None);
    assert!(table.take_doubts().is_empty());
}

/// A program may sleep after its exec, and make no further call.
#[test]
fn exec_concerns_no_other_process() {
    let mut table = NumberTable::default();
    table.exec(30, 30, &[30]);
    assert!(!table.is_changing() && keeps(&mut table, 11, 800));
}

#[test]
fn exec_by_a_thread_drops_all_entries() {
    let mut table = NumberTable::default();
    look(&mut table, 20, 800);
    table.exec(21, 20, &[20, 21]);
    assert!(!keeps(&mut table, 20, 800));
    table.ended(20);
    assert!(keeps(&mut table, 20, 800));
}

/// A thread that gets no CPU may perform its close only after the first checks.
#[test]
fn close_not_made_yet_is_not_over() {
    let mut table = NumberTable::default();
    table.close((7, 7), (700, 700), true, closed());
    table.closing[0].since -= CHECK_DELAY;
    assert_eq!(over(&mut table, None), []);
    table.closing[0].since -= CHECK_DELAY;
    let is_open = |_, closed: &Closed| closed.number != 700;
    assert_eq!(table.over(None, is_open, |_| true), [FILE]);
    // The file's number is free, so the close is taken as over. But the thread still runs and has made no further call,
    // so it may still be closing other numbers: no entry may be kept.
    assert!(table.closes().is_empty());
    assert!(!keeps(&mut table, 8, 700));
    // The next call of the same thread ends the close at once.
    table.close((7, 7), (700, 700), true, closed());
    assert_eq!(over(&mut table, Some(7)), [FILE]);
    assert!(!table.is_changing());
}

/// The kernel refuses a dup2 of a closed number onto an open one, and closes nothing.
#[test]
fn refused_close_is_over_in_the_end() {
    let mut table = NumberTable::default();
    table.close((7, 7), (700, 700), true, closed());
    // The closing thread is killed meanwhile.
    table.ended(7);
    let mut looks = 0;
    loop {
        table.closing[0].since -= CHECK_DELAY;
        if !over(&mut table, None).is_empty() {
            break;
        }
        looks += 1;
        assert!(looks < MAX_CHECKS);
    }
    assert_eq!(looks, MAX_CHECKS - 1);
    assert!(!table.is_changing());
}

/// A step of a program. A thread is named by its position among the live threads.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A call on a descriptor: the supervisor asks the table for the file.
    Call {
        at: usize,
        fd: i32,
    },
    Open {
        at: usize,
        fd: i32,
        cloexec: bool,
    },
    /// A descriptor received by SCM_RIGHTS. The supervisor sees no call.
    Receive {
        at: usize,
        fd: i32,
    },
    /// close, close_range.
    Close {
        at: usize,
        first: i32,
        last: i32,
    },
    /// dup2, dup3.
    Copy {
        at: usize,
        old: i32,
        new: i32,
    },
    Exec {
        at: usize,
        fails: bool,
    },
    /// The kernel performs a thread's pending close, copy or exec, before the thread's next call.
    Made {
        at: usize,
    },
    Fork {
        at: usize,
        shares_files: bool,
    },
    Thread {
        at: usize,
    },
    Unshare {
        at: usize,
    },
    Kill {
        at: usize,
    },
}

/// Generates steps of so many threads, on so many numbers.
fn steps(threads: usize, numbers: i32) -> impl Strategy<Value = Vec<Step>> {
    let fds = move || 800..800 + numbers;
    let at = move || 0..threads;
    let step = prop_oneof![
        8 => (at(), fds()).prop_map(|(at, fd)| Step::Call { at, fd }),
        5 => (at(), fds(), any::<bool>()).prop_map(|(at, fd, cloexec)| Step::Open { at, fd, cloexec }),
        2 => (at(), fds()).prop_map(|(at, fd)| Step::Receive { at, fd }),
        4 => (at(), fds(), 0..3).prop_map(|(at, first, n)| Step::Close { at, first, last: first + n }),
        2 => (at(), fds(), fds()).prop_map(|(at, old, new)| Step::Copy { at, old, new }),
        2 => (at(), any::<bool>()).prop_map(|(at, fails)| Step::Exec { at, fails }),
        4 => at().prop_map(|at| Step::Made { at }),
        2 => (at(), any::<bool>()).prop_map(|(at, shares_files)| Step::Fork { at, shares_files }),
        2 => at().prop_map(|at| Step::Thread { at }),
        1 => at().prop_map(|at| Step::Unshare { at }),
        1 => at().prop_map(|at| Step::Kill { at }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A process's files by descriptor number, each with whether an exec closes it.
type Files = BTreeMap<i32, (u64, bool)>;

#[derive(Clone, Copy, Debug)]
struct Thread {
    process: u32,
    table: usize,
    /// The call that the supervisor let through and the kernel has not made yet.
    under_way: Option<Step>,
}

/// Programs as a kernel sees them.
#[derive(Debug)]
struct Model {
    tables: Vec<Files>,
    threads: BTreeMap<u32, Thread>,
    next_file: u64,
}

impl Model {
    fn new() -> Self {
        let thread = Thread {
            process: 100,
            table: 0,
            under_way: None,
        };
        Self {
            tables: vec![Files::new()],
            threads: BTreeMap::from([(100, thread)]),
            next_file: 1,
        }
    }

    fn tid(&self, at: usize) -> u32 {
        *self.threads.keys().nth(at % self.threads.len()).unwrap()
    }

    fn files(&mut self, tid: u32) -> &mut Files {
        &mut self.tables[self.threads[&tid].table]
    }

    fn own_table(&mut self, tid: u32) {
        let copy = self.files(tid).clone();
        self.tables.push(copy);
        self.threads.get_mut(&tid).unwrap().table = self.tables.len() - 1;
    }

    fn open(&mut self, tid: u32, fd: i32, cloexec: bool) {
        self.next_file += 1;
        let new = (self.next_file, cloexec);
        self.files(tid).entry(fd).or_insert(new);
    }

    /// Starts a thread or process. Like the kernel, reuses the ids of ended ones.
    fn start(&mut self, by: u32, process: Option<u32>) -> u32 {
        let taken = |tid: &u32| {
            let mut threads = self.threads.iter();
            threads.any(|(other, thread)| other == tid || thread.process == *tid)
        };
        let tid = (100..).find(|tid| !taken(tid)).unwrap();
        let process = process.unwrap_or(tid);
        let thread = Thread {
            process,
            under_way: None,
            ..self.threads[&by]
        };
        self.threads.insert(tid, thread);
        tid
    }

    /// Performs a thread's pending call, as the kernel does.
    fn make(&mut self, table: &mut NumberTable, tid: u32) {
        match self.threads.get_mut(&tid).unwrap().under_way.take() {
            Some(Step::Close { first, last, .. }) => {
                self.files(tid).retain(|fd, _| !(first..=last).contains(fd));
            }
            Some(Step::Copy { old, new, .. }) => {
                if let Some(&(file, _)) = self.files(tid).get(&old).filter(|_| old != new) {
                    self.files(tid).insert(new, (file, false));
                }
            }
            Some(Step::Exec { fails: false, .. }) => {
                self.own_table(tid);
                self.files(tid).retain(|_, (_, cloexec)| !*cloexec);
                let thread = self.threads[&tid];
                let of = |thread: &Thread, process| thread.process == process;
                let others: Vec<u32> = self.threads.keys().copied().collect();
                for other in others {
                    if of(&self.threads[&other], thread.process) {
                        self.threads.remove(&other);
                        // The supervisor does not see the leader's end: the executing thread gets its id.
                        if other != thread.process {
                            table.ended(other);
                        }
                    }
                }
                self.threads.insert(thread.process, thread);
            }
            _ => {}
        }
    }

    /// Answers the supervisor's question which threads share a table.
    fn compare(&self, table: &mut NumberTable) {
        let table_of = |tid| Some(self.threads.get(&tid)?.table);
        for (a, b) in table.take_doubts() {
            if let (Some(of_a), Some(of_b)) = (table_of(a), table_of(b))
                && of_a != of_b
            {
                table.set_apart((a, b));
            }
        }
    }

    fn step(&mut self, table: &mut NumberTable, step: Step) -> Result<(), TestCaseError> {
        let (Step::Call { at, .. }
        | Step::Open { at, .. }
        | Step::Receive { at, .. }
        | Step::Close { at, .. }
        | Step::Copy { at, .. }
        | Step::Exec { at, .. }
        | Step::Made { at }
        | Step::Fork { at, .. }
        | Step::Thread { at }
        | Step::Unshare { at }
        | Step::Kill { at }) = step;
        let mut tid = self.tid(at);
        if !matches!(step, Step::Kill { .. }) {
            let process = self.threads[&tid].process;
            self.make(table, tid);
            if !self.threads.contains_key(&tid) {
                tid = process;
            }
        }
        let is_heard = matches!(
            step,
            Step::Call { .. }
                | Step::Open { .. }
                | Step::Close { .. }
                | Step::Copy { .. }
                | Step::Exec { .. }
        );
        if is_heard {
            table.over(Some(tid), |_, _| true, |_| true);
        }
        let process = self.threads[&tid].process;
        let numbers = |first: i32, last: i32| (first.cast_unsigned(), last.cast_unsigned());
        match step {
            Step::Call { fd, .. } => {
                let named = self
                    .files(tid)
                    .get(&fd)
                    .map(|&(ino, _)| FdIdentity { dev: 1, ino });
                let named = named.map(Some).ok_or(Errno(libc::EBADF));
                let found = table.identify((tid, || process), fd, || true, || named);
                prop_assert_eq!(found, named);
            }
            Step::Open { fd, cloexec, .. } => self.open(tid, fd, cloexec),
            Step::Receive { fd, .. } => self.open(tid, fd, false),
            Step::Close { first, last, .. } => {
                table.close((tid, process), numbers(first, last), false, Vec::new());
                self.threads.get_mut(&tid).unwrap().under_way = Some(step);
            }
            Step::Copy { new, .. } => {
                table.close((tid, process), numbers(new, new), false, Vec::new());
                self.threads.get_mut(&tid).unwrap().under_way = Some(step);
            }
            Step::Exec { .. } => {
                let of = self
                    .threads
                    .iter()
                    .filter(|(_, thread)| thread.process == process);
                let threads: Vec<u32> = of.map(|(tid, _)| *tid).collect();
                table.exec(tid, process, &threads);
                self.threads.get_mut(&tid).unwrap().under_way = Some(step);
            }
            Step::Made { .. } => {}
            Step::Fork { shares_files, .. } => {
                let child = self.start(tid, None);
                if !shares_files {
                    self.own_table(child);
                }
            }
            Step::Thread { .. } => drop(self.start(tid, Some(process))),
            Step::Unshare { .. } => self.own_table(tid),
            Step::Kill { .. } => {
                let of = self
                    .threads
                    .iter()
                    .filter(|(_, thread)| thread.process == process);
                let killed: Vec<u32> = of.map(|(tid, _)| *tid).collect();
                if killed.len() < self.threads.len() {
                    for tid in killed {
                        self.threads.remove(&tid);
                        table.ended(tid);
                    }
                    table.ended(process);
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// The table never returns a file to a thread whose number refers to another file.
    /// A few threads often share tables and numbers. More threads do so less often, but in more ways.
    #[test]
    fn entries_match_a_model_of_a_kernel(
        steps in prop_oneof![steps(8, 4), steps(3, 1)],
        compares in any::<bool>(),
    ) {
        let (mut table, mut model) = (NumberTable::default(), Model::new());
        for step in steps {
            model.step(&mut table, step)?;
            if compares {
                model.compare(&mut table);
            }
        }
        let threads: Vec<u32> = model.threads.keys().copied().collect();
        for &tid in &threads {
            if model.threads.contains_key(&tid) {
                model.make(&mut table, tid);
            }
        }
        for &tid in model.threads.keys() {
            table.over(Some(tid), |_, _| true, |_| true);
        }
        prop_assert!(!table.is_changing(), "a close is never over");
    }
}
