//! What a process used: CPU time and memory, as Linux tells it in `/proc`. Elsewhere nothing is told.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

/// The kernel reports CPU time in hundredths of a second, whatever its own clock (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// A process to look at.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    directory: String,
}

/// What it had used at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time of all its threads.
    pub(crate) cpu: Duration,
    /// Resident memory.
    pub(crate) rss_bytes: u64,
}

impl Process {
    /// This program.
    pub(crate) fn own() -> Self {
        Self { directory: "/proc/self".to_owned() }
    }

    /// The process with this number.
    pub(crate) fn with_pid(pid: u32) -> Self {
        Self { directory: format!("/proc/{pid}") }
    }

    /// `None` where the system does not tell, or the process is gone.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let read = |name: &str| std::fs::read_to_string(format!("{}/{name}", self.directory)).ok();
        Some(Usage { cpu: cpu_time(&read("stat")?)?, rss_bytes: memory(&read("status")?, "VmRSS:")? })
    }

    /// From now on [`Self::peak`] tells what was most since now; false where that is not permitted.
    pub(crate) fn forget_peak(&self) -> bool {
        let file = OpenOptions::new().write(true).open(format!("{}/clear_refs", self.directory));
        file.and_then(|mut file| file.write_all(b"5")).is_ok()
    }

    /// The most resident memory it had; `None` like [`Self::usage`].
    pub(crate) fn peak(&self) -> Option<u64> {
        memory(&std::fs::read_to_string(format!("{}/status", self.directory)).ok()?, "VmHWM:")
    }
}

/// `utime` and `stime`, fields 14 and 15; the second field is a name that may hold anything.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()? + fields.next()?.ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn memory(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 8 0 100 1000 200";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(2810)));
        assert_eq!(cpu_time("42 (a"), None);
        assert_eq!(cpu_time("42 (a) S 1"), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t  2048 kB\n";
        assert_eq!(memory(status, "VmRSS:"), Some(2 << 20));
        assert_eq!(memory(status, "VmHWM:"), Some(9 << 10));
        assert_eq!(memory("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_memory() {
        assert!(Process::own().usage().unwrap().rss_bytes > 0);
        let nobody = Process::with_pid(u32::MAX);
        assert_eq!((nobody.usage(), nobody.peak(), nobody.forget_peak()), (None, None, false));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_forgotten_peak_is_that_of_what_came_after() {
        const TOUCHED: usize = 64 << 20;
        let own = Process::own();
        drop(std::hint::black_box(vec![1_u8; TOUCHED]));
        let before = own.peak().unwrap();
        // Nothing to see where the system does not permit it.
        if own.forget_peak() {
            assert!(own.peak().unwrap() < before);
        }
    }
}
