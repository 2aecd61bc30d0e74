//! Files to scan partitions: as many as the session asks for, of about equal bytes.

use std::cmp::Reverse;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileGroupPartitioner};
use datafusion::prelude::SessionConfig;

/// A scan whose largest group has this much more than its share is cut by byte ranges instead.
const TOLERATED_IMBALANCE: f64 = 1.25;

/// Groups files for a scan. Whole files stay together where they spread evenly, because a file read in one piece needs its footer once.
pub(super) fn group(files: Vec<PartitionedFile>, config: &SessionConfig) -> Vec<FileGroup> {
    let target = config.target_partitions().max(1);
    let total: u64 = files.iter().map(|file| file.object_meta.size).sum();
    let groups = by_size(files, target);
    let largest = groups.iter().map(|group| group.iter().map(|file| file.object_meta.size).sum::<u64>()).max().unwrap_or(0);
    let even = largest as f64 <= total as f64 / target as f64 * TOLERATED_IMBALANCE;
    if even || !config.options().optimizer.repartition_file_scans {
        return groups;
    }
    let partitioner = FileGroupPartitioner::new()
        .with_target_partitions(target)
        .with_repartition_file_min_size(config.options().optimizer.repartition_file_min_size);
    partitioner.repartition_file_groups(&groups).unwrap_or(groups)
}

/// Each file, largest first, goes to the group that has the fewest bytes so far.
fn by_size(mut files: Vec<PartitionedFile>, target: usize) -> Vec<FileGroup> {
    files.sort_by(|a, b| {
        (Reverse(a.object_meta.size), &a.object_meta.location).cmp(&(Reverse(b.object_meta.size), &b.object_meta.location))
    });
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); target.min(files.len())];
    for file in files {
        if let Some(group) = groups.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            group.0 += file.object_meta.size;
            group.1.push(file);
        }
    }
    groups.into_iter().filter(|(_, files)| !files.is_empty()).map(|(_, files)| FileGroup::new(files)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(files: &[u64], target: usize) -> Vec<u64> {
        let files = files.iter().enumerate().map(|(i, size)| PartitionedFile::new(format!("f{i}"), *size)).collect();
        let config = SessionConfig::new().with_target_partitions(target);
        let mut sizes: Vec<u64> = group(files, &config).iter().map(|g| g.iter().map(PartitionedFile::effective_size).sum()).collect();
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn even_files_stay_whole() {
        assert_eq!(sizes(&[50, 40, 30, 20, 10, 10], 2), vec![80, 80]);
        assert_eq!(sizes(&[5], 4), vec![5]);
        assert_eq!(sizes(&[], 4), Vec::<u64>::new());
    }

    #[test]
    fn big_files_are_cut() {
        assert_eq!(sizes(&[64 << 20], 2), vec![32 << 20, 32 << 20]);
        assert_eq!(sizes(&[63 << 20, 1 << 20], 4), vec![16 << 20; 4]);
    }
}
