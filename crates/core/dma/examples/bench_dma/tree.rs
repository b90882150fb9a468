//! The reference for the address allocator: a red-black tree of ranges, searched downwards from a
//! cached node.
//!
//! Source: Linux 7.2 drivers/iommu/iova.c, behaviour. Ranges consist of whole granules, aligned to
//! the next power of two. Two nodes are cached, one of them for addresses below 4 GiB. Freeing a range
//! above a cached node moves that node up. A failed search starts once more from the limit. The
//! smallest size that failed below 4 GiB is remembered.

const NIL: u32 = 0;

#[derive(Clone, Copy)]
struct Node {
    low: u64,
    high: u64,
    /// The subtrees of lower and of higher ranges.
    kids: [u32; 2],
    parent: u32,
    red: bool,
}

/// The tree. Node 0 stands for none; node 1 is the anchor above all addresses.
pub(crate) struct Tree {
    nodes: Vec<Node>,
    spare: Vec<u32>,
    root: u32,
    cached: u32,
    cached32: u32,
    limit32: u64,
    failed32: u64,
}

const ANCHOR: u32 = 1;

impl Tree {
    pub(crate) fn new(limit32: u64) -> Self {
        let nil = Node {
            low: 0,
            high: 0,
            kids: [NIL; 2],
            parent: NIL,
            red: false,
        };
        let anchor = Node {
            low: u64::MAX,
            high: u64::MAX,
            ..nil
        };
        Self {
            nodes: vec![nil, anchor],
            spare: Vec::new(),
            root: ANCHOR,
            cached: ANCHOR,
            cached32: ANCHOR,
            limit32,
            failed32: limit32,
        }
    }

    fn n(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    fn m(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    /// Returns the next node on one side: 0 for the lower one, 1 for the higher one.
    #[inline]
    fn neighbour(&self, at: u32, side: usize) -> u32 {
        let mut below = self.n(at).kids[side];
        if below != NIL {
            while self.n(below).kids[side ^ 1] != NIL {
                below = self.n(below).kids[side ^ 1];
            }
            return below;
        }
        let (mut at, mut up) = (at, self.n(at).parent);
        while up != NIL && self.n(up).kids[side] == at {
            at = up;
            up = self.n(at).parent;
        }
        up
    }

    /// Returns the first range above the limit.
    fn above(&self, limit: u64) -> u32 {
        let (mut at, mut best) = (self.root, ANCHOR);
        while at != NIL {
            if self.n(at).low > limit {
                best = at;
                at = self.n(at).kids[0];
            } else {
                at = self.n(at).kids[1];
            }
        }
        best
    }

    pub(crate) fn alloc(&mut self, size: u64, limit: u64) -> Option<u64> {
        let end = limit + 1;
        if end <= self.limit32 && size >= self.failed32 {
            return None;
        }
        let align = !(size.next_power_of_two() - 1);
        let mut curr = if end <= self.limit32 {
            self.cached32
        } else {
            self.cached
        };
        let (mut floor, mut ceiling) = (1, end);
        let retry = self.n(curr).high;
        loop {
            let mut found;
            loop {
                ceiling = ceiling.min(self.n(curr).low);
                found = ceiling.checked_sub(size).map(|at| at & align);
                curr = self.neighbour(curr, 0);
                let Some(at) = found else { break };
                if curr == NIL || at > self.n(curr).high || at < floor {
                    break;
                }
            }
            if let Some(at) = found.filter(|&at| at >= floor) {
                self.insert(at, at + size - 1);
                return Some(at);
            }
            if floor == 1 && retry < end {
                ceiling = end;
                floor = retry + 1;
                curr = self.above(limit);
                continue;
            }
            self.failed32 = size;
            return None;
        }
    }

    pub(crate) fn free(&mut self, low: u64) {
        let mut at = self.root;
        while at != NIL && self.n(at).low != low {
            at = self.n(at).kids[usize::from(low > self.n(at).low)];
        }
        if at == NIL || at == ANCHOR {
            return;
        }
        let next = self.neighbour(at, 1);
        let cached32 = self.n(self.cached32).low;
        if at == self.cached32 || (self.n(at).high < self.limit32 && low >= cached32) {
            self.cached32 = next;
        }
        if low < self.limit32 {
            self.failed32 = self.limit32;
        }
        if low >= self.n(self.cached).low {
            self.cached = next;
        }
        self.erase(at);
        self.spare.push(at);
    }

    fn insert(&mut self, low: u64, high: u64) {
        let fresh = Node {
            low,
            high,
            kids: [NIL; 2],
            parent: NIL,
            red: true,
        };
        let at = match self.spare.pop() {
            Some(at) => {
                *self.m(at) = fresh;
                at
            }
            None => {
                self.nodes.push(fresh);
                self.nodes.len() as u32 - 1
            }
        };
        let mut up = self.root;
        let side = loop {
            let side = usize::from(low > self.n(up).low);
            match self.n(up).kids[side] {
                NIL => break side,
                next => up = next,
            }
        };
        self.m(at).parent = up;
        self.m(up).kids[side] = at;
        self.balance_insert(at);
        if high < self.limit32 {
            self.cached32 = at;
        } else {
            self.cached = at;
        }
    }

    /// Moves a node down on one side; its child on the other side takes its place.
    fn rotate(&mut self, at: u32, side: usize) {
        let up = self.n(at).kids[side ^ 1];
        let inner = self.n(up).kids[side];
        self.m(at).kids[side ^ 1] = inner;
        if inner != NIL {
            self.m(inner).parent = at;
        }
        let parent = self.n(at).parent;
        self.m(up).parent = parent;
        self.relink(parent, at, up);
        self.m(up).kids[side] = at;
        self.m(at).parent = up;
    }

    /// Returns the side of `parent` on which `child` is.
    fn side(&self, parent: u32, child: u32) -> usize {
        usize::from(self.n(parent).kids[0] != child)
    }

    /// Replaces `old` by `new` as a child of `parent`.
    fn relink(&mut self, parent: u32, old: u32, new: u32) {
        if parent == NIL {
            self.root = new;
        } else {
            let side = self.side(parent, old);
            self.m(parent).kids[side] = new;
        }
    }

    fn balance_insert(&mut self, start: u32) {
        let mut at = start;
        while self.n(self.n(at).parent).red {
            let parent = self.n(at).parent;
            let grand = self.n(parent).parent;
            let side = self.side(grand, parent);
            let uncle = self.n(grand).kids[side ^ 1];
            if self.n(uncle).red {
                self.m(parent).red = false;
                self.m(uncle).red = false;
                self.m(grand).red = true;
                at = grand;
                continue;
            }
            if at == self.n(parent).kids[side ^ 1] {
                at = parent;
                self.rotate(at, side);
            }
            let parent = self.n(at).parent;
            self.m(parent).red = false;
            self.m(grand).red = true;
            self.rotate(grand, side ^ 1);
        }
        let root = self.root;
        self.m(root).red = false;
    }

    fn erase(&mut self, at: u32) {
        let [left, right] = self.n(at).kids;
        let (child, parent, was_red);
        if left != NIL && right != NIL {
            // The next node takes the erased node's place.
            let heir = self.neighbour(at, 1);
            was_red = self.n(heir).red;
            child = self.n(heir).kids[1];
            if self.n(heir).parent == at {
                parent = heir;
            } else {
                parent = self.n(heir).parent;
                self.m(parent).kids[0] = child;
                if child != NIL {
                    self.m(child).parent = parent;
                }
                self.m(heir).kids[1] = right;
                self.m(right).parent = heir;
            }
            let (up, red) = (self.n(at).parent, self.n(at).red);
            self.relink(up, at, heir);
            self.m(heir).parent = up;
            self.m(heir).red = red;
            self.m(heir).kids[0] = left;
            self.m(left).parent = heir;
        } else {
            child = if left == NIL { right } else { left };
            parent = self.n(at).parent;
            was_red = self.n(at).red;
            self.relink(parent, at, child);
            if child != NIL {
                self.m(child).parent = parent;
            }
        }
        if !was_red {
            self.balance_erase(child, parent);
        }
    }

    fn balance_erase(&mut self, start: u32, above: u32) {
        let (mut at, mut parent) = (start, above);
        while at != self.root && !self.n(at).red && parent != NIL {
            let side = self.side(parent, at);
            let mut other = self.n(parent).kids[side ^ 1];
            if self.n(other).red {
                self.m(other).red = false;
                self.m(parent).red = true;
                self.rotate(parent, side);
                other = self.n(parent).kids[side ^ 1];
            }
            let (near, far) = (self.n(other).kids[side], self.n(other).kids[side ^ 1]);
            if !self.n(near).red && !self.n(far).red {
                self.m(other).red = true;
                at = parent;
                parent = self.n(at).parent;
                continue;
            }
            if !self.n(far).red {
                self.m(near).red = false;
                self.m(other).red = true;
                self.rotate(other, side ^ 1);
                other = self.n(parent).kids[side ^ 1];
            }
            let far = self.n(other).kids[side ^ 1];
            self.m(other).red = self.n(parent).red;
            self.m(parent).red = false;
            self.m(far).red = false;
            self.rotate(parent, side);
            at = self.root;
            break;
        }
        self.m(at).red = false;
    }

    /// Checks order, colours and heights; panics if one is wrong.
    pub(crate) fn check(&self) {
        fn below(tree: &Tree, at: u32, low: u64, high: u64) -> u32 {
            if at == NIL {
                return 1;
            }
            let node = *tree.n(at);
            assert!(node.low >= low && node.high <= high && node.low <= node.high);
            assert!(!node.red || !node.kids.iter().any(|&kid| tree.n(kid).red));
            let left = below(tree, node.kids[0], low, node.low.wrapping_sub(1));
            let right = below(tree, node.kids[1], node.high.saturating_add(1), high);
            assert_eq!(left, right);
            left + u32::from(!node.red)
        }
        below(self, self.root, 0, u64::MAX);
    }
}
