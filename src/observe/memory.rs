//! How much memory the process takes, and how much it may: what the kernel says.

use std::fs;

/// Bytes resident now; `None` where the kernel does not say (not Linux).
pub fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    resident.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limit of the process's control group (version 2, as seen from inside a container or a unit); `None`: there is none.
pub fn allowed() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/');
    let file = std::path::Path::new("/sys/fs/cgroup").join(path).join("memory.max");
    let file = if file.exists() { file } else { "/sys/fs/cgroup/memory.max".into() };
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
