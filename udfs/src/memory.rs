//! How much memory this process may still take. What functions and operators make of a batch of rows is in no memory pool; where it may be much, it is asked here
//! first, because memory that is not there ends the process.

use std::fmt;
use std::sync::LazyLock;

use datafusion::common::{DataFusionError, Result};

/// What may be taken without asking: more often than not it is there, and finding out costs a system call.
const FREE_BYTES: u64 = 16 << 20;
/// Of a machine's or container's memory, what a process may have in all; and of what is free, how much it may take at a time.
const PROCESS_SHARE: (u64, u64) = (9, 10);

static MACHINE_BYTES: LazyLock<Option<u64>> = LazyLock::new(|| {
    let container = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    let machine = field_of("/proc/meminfo", "MemTotal:");
    match (container, machine) {
        (Some(container), Some(machine)) => Some(container.min(machine)),
        (container, machine) => container.or(machine),
    }
});

/// Memory of the container if it is limited, else of the machine; `None` where that cannot be told.
pub fn machine_bytes() -> Option<u64> {
    *MACHINE_BYTES
}

/// Memory was asked for that is not there. No `ResourcesExhausted`, at which joins begin anew with less of their input at a time: it would not help.
#[derive(Debug)]
pub struct NoRoom(String);

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoRoom {}

/// Asks for memory that is about to be taken. What others are about to take is not known: a tenth is left for them.
///
/// # Errors
/// [`NoRoom`]: so much is not there.
pub fn ask(bytes: u64, what_for: impl FnOnce() -> String) -> Result<()> {
    if bytes < FREE_BYTES {
        return Ok(());
    }
    match (machine_bytes(), field_of("/proc/self/status", "VmRSS:")) {
        (Some(machine), Some(taken)) => {
            // Other processes may have taken the rest.
            let free = field_of("/proc/meminfo", "MemAvailable:").unwrap_or(machine);
            ask_of(machine, taken, free, bytes, what_for)
        }
        _ => Ok(()),
    }
}

fn ask_of(machine: u64, taken: u64, free: u64, bytes: u64, what_for: impl FnOnce() -> String) -> Result<()> {
    let share = |of: u64| of / PROCESS_SHARE.1 * PROCESS_SHARE.0;
    let room = share(machine).saturating_sub(taken).min(share(free));
    if bytes <= room {
        return Ok(());
    }
    let message = format!("{} would take {} MB of memory, of which {} MB are there", what_for(), bytes >> 20, room >> 20);
    Err(DataFusionError::External(Box::new(NoRoom(message))))
}

/// A size from a file of lines such as `VmRSS:   1234 kB`.
fn field_of(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_refused() {
        let what_for = || "a join".to_string();
        const GB: u64 = 1 << 30;
        assert!(ask_of(10 * GB, GB, 9 * GB, 7 * GB, what_for).is_ok());
        let refused = ask_of(10 * GB, 3 * GB, 10 * GB, 7 * GB, what_for).unwrap_err().to_string();
        assert!(refused.contains("a join would take 7168 MB of memory, of which 6144 MB are there"), "{refused}");
        assert!(ask_of(10 * GB, GB, 5 * GB, 7 * GB, what_for).is_err());
        assert!(ask(1 << 20, what_for).is_ok());
        if machine_bytes().is_some() {
            assert!(ask(u64::MAX / 2, what_for).is_err());
        }
    }
}
