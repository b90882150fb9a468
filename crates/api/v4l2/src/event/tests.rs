use super::*;

const SYNC: Topic = Topic { kind: 4, id: 0 };
const CTRL: Topic = Topic {
    kind: 3,
    id: 0x98_0900,
};

fn payload(first: u32, second: u32) -> Payload {
    let mut bytes = [0; PAYLOAD];
    bytes[..4].copy_from_slice(&first.to_ne_bytes());
    bytes[4..8].copy_from_slice(&second.to_ne_bytes());
    bytes
}

#[test]
fn subscribed_events_arrive_in_order() {
    let mut q = EventQueue::default();
    assert!(!q.raise(SYNC, payload(1, 0), 5, false));
    assert_eq!(q.subscribe(SYNC, 4, false, false), Ok(true));
    assert_eq!(q.subscribe(SYNC, 4, false, false), Ok(false));
    assert!(q.raise(SYNC, payload(1, 0), 5, false));
    assert!(q.raise(SYNC, payload(2, 0), 6, false));
    let (first, left) = q.take().unwrap();
    assert_eq!(
        (first.payload, first.sequence, first.timestamp_ns, left),
        (payload(1, 0), 0, 5, 1)
    );
    let (second, left) = q.take().unwrap();
    assert_eq!(
        (second.payload, second.sequence, left),
        (payload(2, 0), 1, 0)
    );
    assert!(q.take().is_none() && !q.is_pending());
}

#[test]
fn full_subscriptions_drop_their_oldest_event() {
    let mut q = EventQueue::default();
    q.subscribe(SYNC, 2, false, false).unwrap();
    for n in 0..5 {
        q.raise(SYNC, payload(n, 0), 0, false);
    }
    assert_eq!(q.take().unwrap().0.payload, payload(3, 0));
    assert_eq!(q.take().unwrap().0.sequence, 4);
    assert!(q.take().is_none());
    q.raise(SYNC, payload(9, 0), 0, false);
    assert!(q.is_pending());
}

#[test]
fn changes_are_merged_not_lost() {
    let mut q = EventQueue::default();
    q.subscribe(CTRL, 1, false, true).unwrap();
    q.raise(CTRL, payload(1, 10), 0, false);
    q.raise(CTRL, payload(2, 20), 0, false);
    assert_eq!(q.take().unwrap().0.payload, payload(3, 20));

    q.unsubscribe(CTRL);
    q.subscribe(CTRL, 2, false, true).unwrap();
    for (bit, value) in [(1, 1), (2, 2), (4, 3)] {
        q.raise(CTRL, payload(bit, value), 0, false);
    }
    assert_eq!(q.take().unwrap().0.payload, payload(3, 2));
    assert_eq!(q.take().unwrap().0.payload, payload(4, 3));
}

#[test]
fn own_changes_need_feedback() {
    let mut q = EventQueue::default();
    q.subscribe(CTRL, 1, false, true).unwrap();
    assert!(!q.raise(CTRL, payload(1, 0), 0, true));
    q.unsubscribe(CTRL);
    q.subscribe(CTRL, 1, true, true).unwrap();
    assert!(q.raise(CTRL, payload(1, 0), 0, true));
}

#[test]
fn unsubscribing_drops_pending_events() {
    let mut q = EventQueue::default();
    q.subscribe(CTRL, 1, false, true).unwrap();
    q.subscribe(SYNC, 1, false, false).unwrap();
    q.raise(CTRL, payload(1, 0), 0, false);
    q.raise(SYNC, payload(1, 0), 0, false);
    q.unsubscribe(CTRL);
    assert_eq!(q.take().unwrap().0.topic, SYNC);
    q.raise(SYNC, payload(1, 0), 0, false);
    q.unsubscribe_all();
    assert!(!q.is_pending() && !q.raise(SYNC, payload(1, 0), 0, false));
}

#[test]
fn subscriptions_are_bounded() {
    let mut q = EventQueue::default();
    for id in 0..MAX_SUBSCRIPTIONS {
        let id = u32::try_from(id).unwrap();
        assert_eq!(q.subscribe(Topic { kind: 3, id }, 1, false, true), Ok(true));
    }
    assert_eq!(q.subscribe(SYNC, 1, false, false), Err(Error::Full));
}
