//! What a cluster survives: executors that are killed, hang, leave, or all go; tasks that fail; a disk that is full. Every table is the one of an undisturbed
//! run, and no version of it is half there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::cluster::{Cluster, Options, Place, in_stages};
use super::cluster_runs::{all_tables, assert_same_tables, embedded};
use super::data;

/// Seeded rounds of killing: a few in every run of the tests, `ORRERY_FAULT_ROUNDS=50` for a thorough one.
fn rounds() -> u64 {
    std::env::var("ORRERY_FAULT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2)
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

/// Generated events, the tables that an undisturbed run in one process makes of them, and a folder for a cluster.
pub struct Undisturbed {
    dir: tempfile::TempDir,
    source: String,
    expected: Vec<(&'static str, Vec<String>)>,
}

impl Undisturbed {
    pub fn run() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = data::generated(dir.path(), 20_000, "parquet", 0.02).to_str().unwrap().to_string();
        let expected = embedded(dir.path(), &source);
        Self { dir, source, expected }
    }

    pub fn home(&self, name: &str) -> PathBuf {
        let home = self.dir.path().join(name);
        std::fs::create_dir(&home).unwrap();
        home
    }

    /// Submits the pipeline; the test goes on beside it.
    pub fn submit(&self, cluster: &Cluster) -> Child {
        let scripts = data::root().join("sql/clickstream");
        cluster.client_in_background(&["submit", scripts.to_str().unwrap(), "--set", &format!("source={}", self.source), "--quiet"])
    }

    /// Waits for the pipeline and compares every table.
    pub fn assert_unharmed(&self, cluster: &Cluster, client: Child, what: &str) {
        let said = super::orrery::finished(client.wait_with_output().unwrap());
        assert_eq!(said.code, Some(0), "{what}: {}\n{}", said.stderr, cluster.logs());
        assert_same_tables(&all_tables(&cluster.dir), &self.expected);
    }
}

#[test]
fn executors_killed_at_any_moment_change_nothing() {
    let undisturbed = Undisturbed::run();
    for round in 0..rounds() {
        let mut random = Seeded(round);
        let home = undisturbed.home(&format!("round{round}"));
        let options = if round % 4 == 3 { Options::of(2).small_plans_whole() } else { Options::of(2) };
        let mut cluster = Cluster::start(&home, options);
        let client = undisturbed.submit(&cluster);
        // Three deaths, each followed by a newcomer, at moments that depend on the seed.
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(300 + random.below(3000)));
            let victim = random.below(cluster.executors.len() as u64) as usize;
            cluster.executors[victim].kill();
            cluster.executors.remove(victim);
            cluster.add_executor();
        }
        undisturbed.assert_unharmed(&cluster, client, &format!("round {round}"));
        assert_vacuum_leaves_only_live_files(&cluster);
        drop(cluster);
        std::fs::remove_dir_all(&home).unwrap();
    }
}

/// Tasks that were killed leave files that no commit names. `VACUUM` finds all of them, and nothing else.
fn assert_vacuum_leaves_only_live_files(cluster: &Cluster) {
    for table in super::cluster_runs::TABLES {
        cluster.sql(&format!("VACUUM {table} RETAIN 0 HOURS FORCE"));
    }
    let mut left = 0;
    for table in super::cluster_runs::TABLES {
        let detail = super::orrery::run(&cluster.dir, &["sql", "--format", "json", "-c", &format!("DESCRIBE DETAIL {table}")]).stdout;
        let live: u64 = detail.split("\"numFiles\":").nth(1).unwrap().split(',').next().unwrap().trim_matches('"').parse().unwrap();
        let (schema, name) = table.split_once('.').unwrap();
        let folder = cluster.dir.join("warehouse/dev").join(schema).join(name);
        assert_eq!(data_files(&folder), live, "{table}");
        left += live;
    }
    assert!(left > 0);
}

/// Files of a table but those of its log, unfinished ones included.
fn data_files(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.file_name() != "_delta_log");
    entries.map(|entry| if entry.path().is_dir() { data_files(&entry.path()) } else { 1 }).sum()
}

#[test]
fn all_executors_may_go_and_come_back() {
    let undisturbed = Undisturbed::run();
    let mut cluster = Cluster::start(&undisturbed.home("cluster"), Options::of(2));
    let client = undisturbed.submit(&cluster);
    std::thread::sleep(Duration::from_secs(2));
    cluster.executors.clear();
    cluster.wait_for_executors(0);
    cluster.add_executor();
    undisturbed.assert_unharmed(&cluster, client, "all gone");
}

#[test]
fn an_executor_that_hangs_is_given_up_and_its_work_done_elsewhere() {
    let undisturbed = Undisturbed::run();
    let cluster = Cluster::start(&undisturbed.home("cluster"), Options::of(2));
    let client = undisturbed.submit(&cluster);
    std::thread::sleep(Duration::from_secs(2));
    cluster.executors[0].signal("STOP");
    cluster.wait(|cluster| cluster.alive() == 1, "the hanging executor to count as dead");
    undisturbed.assert_unharmed(&cluster, client, "one hangs");
    // Back again, it is welcome, and what it had half done changes nothing.
    cluster.executors[0].signal("CONT");
    std::thread::sleep(Duration::from_secs(1));
    assert_same_tables(&all_tables(&cluster.dir), &undisturbed.expected);
}

#[test]
fn an_executor_that_is_told_to_stop_leaves_without_harm() {
    let undisturbed = Undisturbed::run();
    let mut cluster = Cluster::start(&undisturbed.home("cluster"), Options::of(2));
    let client = undisturbed.submit(&cluster);
    std::thread::sleep(Duration::from_secs(2));
    cluster.executors[0].signal("TERM");
    assert_eq!(cluster.executors[0].wait(), Some(0), "{}", cluster.logs());
    undisturbed.assert_unharmed(&cluster, client, "one leaves");
}

#[test]
fn a_full_disk_on_one_executor_leaves_the_work_to_the_other() {
    let undisturbed = Undisturbed::run();
    let home = undisturbed.home("cluster");
    let Some(small) = SmallDisk::mount(&home.join("small"), "64k") else { return };
    let mut options = Options::of(1);
    options.scheduler_args.extend(in_stages());
    let mut cluster = Cluster::start(&home, options);
    cluster.add_executor_at(Place { work_dir: Some(small.folder.clone()), ..Place::default() });
    cluster.wait_for_executors(2);
    let client = undisturbed.submit(&cluster);
    undisturbed.assert_unharmed(&cluster, client, "one disk is full");
    // Whichever of the two wrote it down.
    let was_full = [&cluster.executors[1], &cluster.scheduler].iter().any(|process| process.said().contains("No space left on device"));
    assert!(was_full, "the disk was never full:\n{}", cluster.logs());
}

/// A file system in memory that is full soon; gone with the test.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder).output();
        if mounted.is_ok_and(|ran| ran.status.success()) {
            return Some(Self { folder: folder.to_path_buf() });
        }
        eprintln!("skipped: file systems cannot be mounted here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

#[test]
fn tasks_that_fail_by_chance_are_tried_again() {
    let undisturbed = Undisturbed::run();
    let mut options = Options::of(2);
    options.scheduler_args.extend(["--chaos", "0.003", "--task-attempts", "2"].map(String::from));
    let cluster = Cluster::start(&undisturbed.home("cluster"), options);
    let client = undisturbed.submit(&cluster);
    undisturbed.assert_unharmed(&cluster, client, "chaos");
}
