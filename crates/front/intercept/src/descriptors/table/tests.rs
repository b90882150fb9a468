use super::*;

#[test]
fn file_is_gone_after_descriptors_and_mappings() {
    let [id, node] = [2, 9].map(|ino| FdIdentity { dev: 1, ino });
    let file = FileId(4);
    let mut table = Table::default();
    table.add_reference(node, 0);
    table.add_file(file, id, Some(0), libc::O_RDWR);
    assert_eq!(
        table.device(file).and_then(|of| of.flags),
        Some(libc::O_RDWR)
    );
    table.flags_change(Target::Device(file));
    assert_eq!(table.device(file).and_then(|of| of.flags), None);
    table.add_mapping(file);
    assert_eq!(table.find(id), Some(Target::Device(file)));
    assert!(table.has_descriptors(file));
    let key = (SetId(1), 800);
    assert!(table.add_member(Watched::Device(file), key, Member::default()));
    assert!(table.is_member(Watched::Device(file)));
    let (members, had_locks) = table.last_closed(file);
    assert!(members.contains_key(&key) && !had_locks);
    assert!(!table.is_member(Watched::Device(file)));
    assert!(!table.has_descriptors(file));
    assert_eq!(table.find(id), None);
    assert!(!table.release_file(file), "it is mapped");
    assert_eq!(table.device(file).and_then(|of| of.node), Some(0));
    assert!(table.release_file(file));
    assert!(!table.has_no_files(), "a reference is left");
    assert_eq!(table.find(node), Some(Target::Node(0)));
}

#[test]
fn buffer_is_known_while_sets_have_it() {
    let id = FdIdentity { dev: 1, ino: 2 };
    let (file, mut table) = (Watched::Buffer(id), Table::default());
    let keys = [1, 2, 3].map(|set| (SetId(set), 800));
    for key in keys {
        assert!(table.add_member(file, key, Member::default()));
        assert!(
            !table.add_member(file, key, Member::default()),
            "it changes"
        );
    }
    assert_eq!(table.buffers(), [id]);
    assert!(table.remove_member(file, keys[0]) && !table.remove_member(file, keys[0]));
    table.leave_sets(&HashSet::from([SetId(2)]));
    assert!(table.buffer_ended(id).contains_key(&keys[2]));
    assert!(table.has_no_files());
    table.add_member(file, keys[0], Member::default());
    assert!(table.remove_member(file, keys[0]) && table.has_no_files());
    table.add_member(file, keys[0], Member::default());
    table.leave_sets(&HashSet::from([SetId(1)]));
    assert!(table.has_no_files());
}
