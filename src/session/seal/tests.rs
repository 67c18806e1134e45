use super::*;

fn sealer(keys: &[u8]) -> Sealer {
    let keys: Vec<[u8; 32]> = keys.iter().map(|byte| [*byte; 32]).collect();
    Sealer::of(&keys).unwrap()
}

#[test]
fn what_was_sealed_opens_for_its_purpose_alone() {
    let sealer = sealer(&[1]);
    let sealed = sealer.seal(b"session", b"value");
    assert_eq!(sealed.len(), 5 + OVERHEAD);
    assert_eq!(sealer.open(b"session", sealed.clone()).as_deref(), Some(&b"value"[..]));
    assert_eq!(sealer.open(b"login", sealed.clone()), None);
    assert_ne!(sealer.seal(b"session", b"value"), sealed, "no two seals are alike");
}

/// Keys rotate without a logout.
#[test]
fn the_first_key_seals_and_all_open() {
    let (old, both, new) = (sealer(&[1]), sealer(&[2, 1]), sealer(&[2]));
    let before = old.seal_text(b"p", b"value");
    assert_eq!(both.open_text(b"p", before.as_bytes()).as_deref(), Some(&b"value"[..]));
    assert_eq!(new.open_text(b"p", before.as_bytes()), None);
    assert!(new.open_text(b"p", both.seal_text(b"p", b"value").as_bytes()).is_some());
}

#[test]
fn a_changed_byte_opens_nothing() {
    let sealer = sealer(&[1]);
    let sealed = sealer.seal(b"p", b"value");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(sealer.open(b"p", changed), None, "byte {at}");
        assert_eq!(sealer.open(b"p", sealed[..at].to_vec()), None, "cut at {at}");
    }
}

#[test]
fn a_key_that_is_made_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let sealed = Sealer::load_or_create(&[], directory.path()).unwrap().seal(b"p", b"value");
    assert!(Sealer::load_or_create(&[], directory.path()).unwrap().open(b"p", sealed).is_some());
    std::fs::write(directory.path().join("session.key"), "short").unwrap();
    assert!(Sealer::load_or_create(&[], directory.path()).unwrap_err().contains("session.key"));
}
