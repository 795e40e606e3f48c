//! Defaults that depend on the machine and on where the program lies.

use std::path::{Path, PathBuf};

use kalamdb_commons::settings::Settings;

/// Used where the system does not say how much memory there is.
const ASSUMED_MEMORY_BYTES: u64 = 4 << 30;

/// The defaults of this machine: RocksDB's files beside the program, queries bounded by a quarter of the memory.
#[must_use]
pub fn machine_defaults() -> Settings {
    let mut settings = Settings::default();
    settings.storage.rocksdb_dir = beside_program(&settings.storage.rocksdb_dir);
    settings.query.memory_limit = (memory_bytes().unwrap_or(ASSUMED_MEMORY_BYTES) / 4).max(64 << 20);
    settings
}

fn beside_program(path: &Path) -> PathBuf {
    let program = std::env::current_exe().ok();
    program.as_deref().and_then(Path::parent).map_or_else(|| path.to_owned(), |directory| directory.join(path))
}

/// What this process may use: the machine's memory, or its container's if that is less.
fn memory_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of_meminfo(&text));
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    match (machine, container) {
        (Some(machine), Some(container)) => Some(u64::min(machine, container)),
        (machine, container) => machine.or(container),
    }
}

fn total_of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_directory_are_those_of_this_machine() {
        assert_eq!(total_of_meminfo("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(total_of_meminfo("nothing"), None);
        let settings = machine_defaults();
        assert!(settings.storage.rocksdb_dir.is_absolute() && settings.storage.rocksdb_dir.ends_with("data/rocksdb"));
        assert!(settings.query.memory_limit >= 64 << 20);
        assert_eq!(settings.check(), Ok(()));
    }
}
