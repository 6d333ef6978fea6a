//! What the log has done since it was opened.

/// Counters since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Records made durable.
    pub records: u64,
    /// Bytes written, frame headers and padding included.
    pub bytes_written: u64,
    /// Syncs of the log's files.
    pub syncs: u64,
    /// Groups made durable: `groups[i]` had from `2^i` to before `2^(i+1)` records; the last one counts all larger ones too.
    pub groups: [u64; WalStats::GROUP_BUCKETS],
    /// Records of the largest group.
    pub group_records_max: u64,
    /// Files of the log on disk, spare ones left out.
    pub files: u64,
    /// Bytes of those files.
    pub files_bytes: u64,
}

impl WalStats {
    /// Number of size classes of groups.
    pub const GROUP_BUCKETS: usize = 12;

    pub(super) fn count_group(&mut self, records: u64) {
        self.records += records;
        if records > 0 {
            let bucket = (records.ilog2() as usize).min(WalStats::GROUP_BUCKETS - 1);
            self.groups[bucket] += 1;
            self.group_records_max = self.group_records_max.max(records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_fall_into_powers_of_two() {
        let mut stats = WalStats::default();
        for records in [0, 1, 2, 3, 4, 1 << 20] {
            stats.count_group(records);
        }
        assert_eq!(stats.records, 10 + (1 << 20));
        assert_eq!(stats.groups[..3], [1, 2, 1]);
        assert_eq!(stats.groups[WalStats::GROUP_BUCKETS - 1], 1);
        assert_eq!(stats.group_records_max, 1 << 20);
    }
}
