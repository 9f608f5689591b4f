//! What a hostile peer cost: memory and threads of the node's process, bytes of its home; and the line that says it.

use std::fs;
use std::path::Path;

/// Bytes, of a MiB.
pub const MIB: u64 = 1 << 20;

/// A line of `/proc/<pid>/status`, its number alone.
fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

/// Bytes of memory that a process had at its most.
pub fn most_memory(pid: u32) -> u64 {
    status(pid, "VmHWM") << 10
}

/// Threads of a process.
pub fn threads(pid: u32) -> u64 {
    status(pid, "Threads")
}

/// Bytes of all files below a folder, as the disk holds them.
pub fn disk(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // A running node renames its temporary files away.
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
            }
        }
    }
    bytes
}

/// A row of the table: what was done, what bounds it, what it came to.
pub fn row(threats: &str, behaviour: &str, bound: &str, measured: &str) {
    println!("| {threats} | {behaviour} | {bound} | {measured} |");
}

/// Bytes in words.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}
