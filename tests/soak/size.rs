//! Memory and descriptors of a process, over time.

use std::fmt;

/// At the same load, more than this is growth, not chance: a part of what there was, and an amount.
const MEMORY_PART: f64 = 0.15;
const MEMORY_KIB: f64 = 8.0 * 1024.0;
const DESCRIPTORS_PART: f64 = 0.25;
const DESCRIPTORS: f64 = 30.0;

pub struct Sizes {
    pub pid: u32,
    /// Resident memory in KiB, and open descriptors.
    taken: Vec<(f64, f64)>,
}

impl Sizes {
    pub fn of(pid: u32) -> Sizes {
        Sizes { pid, taken: Vec::new() }
    }

    pub fn take(&mut self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says so");
        let memory = line.trim().trim_end_matches(" kB").parse().expect("a number");
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("it is ours").count();
        self.taken.push((memory, descriptors as f64));
    }

    /// Medians of the second quarter, when it is warm, and of the last.
    fn before_and_after(&self) -> [(f64, f64); 2] {
        let quarter = self.taken.len() / 4;
        let warm = &self.taken[quarter..2 * quarter];
        let last = &self.taken[3 * quarter..];
        [warm, last].map(|part| (median(part.iter().map(|(m, _)| *m)), median(part.iter().map(|(_, d)| *d))))
    }

    #[track_caller]
    pub fn assert_flat(&self) {
        let [before, after] = self.before_and_after();
        assert!(after.0 <= before.0 * (1.0 + MEMORY_PART) + MEMORY_KIB, "memory grows: {self}");
        assert!(after.1 <= before.1 * (1.0 + DESCRIPTORS_PART) + DESCRIPTORS, "descriptors grow: {self}");
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(memory, descriptors), (memory_after, descriptors_after)] = self.before_and_after();
        write!(f, "memory {memory:.0} KiB, then {memory_after:.0} KiB; ")?;
        write!(f, "descriptors {descriptors:.0}, then {descriptors_after:.0}; {} samples", self.taken.len())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().expect("there were samples")
}
