use super::*;

#[test]
fn messages_survive_encoding() {
    for (i, op) in OPS.into_iter().enumerate() {
        let sent = Message::new(op, &[1, u64::MAX, i as u64]).with_text("größer");
        assert_eq!(Message::from_bytes(&sent.to_bytes()), Some(sent));
    }
}

#[test]
fn long_sentences_are_cut_between_characters() {
    let sent = Message::new(Op::Corrupt, &[]).with_text(&format!("a{}", "ß".repeat(MAX_TEXT)));
    assert_eq!(sent.text.len(), MAX_TEXT - 1);
    assert!(sent.to_bytes().len() <= MAX_LEN);
}

#[test]
fn invalid_bytes_are_no_messages() {
    let good = Message::new(Op::Drain, &[]).to_bytes();
    let mut unknown = good.clone();
    unknown[0] = 99;
    let mut text = good.clone();
    text.push(0xff);
    let mut long = good.clone();
    long.extend([b'a'; MAX_TEXT + 1]);
    for bad in [&[][..], &good[..20], &unknown, &text, &long] {
        assert_eq!(Message::from_bytes(bad), None, "{} bytes", bad.len());
    }
    assert!(Message::from_bytes(&good).is_some());
}
