//! Any bytes as a path: the canonical form is a fixed point, and nothing in it can be read in two ways.
#![no_main]

use darvazeh::intake::path::canonical;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let Ok(path) = canonical(raw) else { return };
    assert_eq!(canonical(&path).as_deref(), Ok(&*path), "not a fixed point");
    assert!(path.starts_with(b"/") && path.is_ascii());
    let text = std::str::from_utf8(&path).expect("ASCII").to_ascii_lowercase();
    for part in ["//", "\\", ";", "#", "?", "%2f", "%5c", "%3b", "%00", "%2e", "%252e", "%252f", "%255c", "%253b"] {
        assert!(!text.contains(part), "{part} survived");
    }
    assert!(!text.split('/').any(|segment| matches!(segment, "." | "..")), "a dot segment survived");
    assert!(!text.bytes().any(|b| b.is_ascii_control()));
});
