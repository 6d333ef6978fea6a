//! What the machine offers: memory and cores, as far as this process may use them.

use std::fs;

/// Memory assumed where the system does not tell, in bytes.
const MEMORY_BYTES_FALLBACK: u64 = 4 << 30;

/// Bytes of memory this process may use: the machine's, or the control group's limit where that is smaller.
#[must_use]
pub fn memory_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .min();
    match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group),
        (Some(bytes), None) | (None, Some(bytes)) => bytes,
        (None, None) => MEMORY_BYTES_FALLBACK,
    }
}

/// Number of threads that can run at the same time.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Bytes of this process that are resident in memory; `None` where the system does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kibibytes(line)
}

fn total_of(meminfo: &str) -> Option<u64> {
    kibibytes(meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?)
}

fn kibibytes(text: &str) -> Option<u64> {
    text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_format() {
        assert_eq!(total_of("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16384 * 1024));
        assert_eq!(total_of("garbage"), None);
        assert!(memory_bytes() > 0 && cores() > 0);
    }
}
