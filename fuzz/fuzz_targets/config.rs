//! Any bytes as `routes.yaml`: never a panic, and whoever gets no config gets faults that have a place and a remedy.
#![no_main]

use std::cell::RefCell;
use std::path::PathBuf;

use darvazeh::config::{self, Severity};
use libfuzzer_sys::fuzz_target;

/// 2026-01-01, so that a finding does not depend on the day.
const NOW: i64 = 1_767_225_600;

thread_local! {
    static FILE: RefCell<Option<(tempfile::TempDir, PathBuf)>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    FILE.with_borrow_mut(|file| {
        let (_, path) = file.get_or_insert_with(|| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("routes.yaml");
            (folder, path)
        });
        std::fs::write(&*path, bytes).expect("the temporary folder takes a file");
        let Err(faults) = config::load(path, NOW) else { return };
        assert!(faults.iter().any(|fault| fault.severity == Severity::Error), "refused without an error");
        // A lone CR ends a line too (YAML 1.2.2, section 5.4).
        let lines = bytes.iter().filter(|b| matches!(b, b'\n' | b'\r')).count() as u32 + 1;
        for fault in faults {
            assert!(!fault.message.is_empty() && !fault.remedy.is_empty());
            assert!(fault.line <= lines + 1, "line {} of {lines}", fault.line);
        }
    });
});
