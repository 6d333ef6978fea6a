//! What an operator may tune in storage.

/// Options of [`Database::open`](crate::Database::open). They hold for the life of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageOptions {
    /// Size of one file of the write-ahead log, in bytes. Default 64 MiB; from 64 KiB to 1 GiB. A record that is larger than a
    /// file continues in the next one.
    pub wal_file_bytes: u64,
    /// Rows of a table's tail at which it is flushed to a segment. Default 131,072; from 1,024 to 1,048,576. At four times as
    /// many, the appending transaction flushes itself.
    pub tail_rows_max: u64,
    /// Bytes of a table's tail at which it is flushed to a segment. Default 32 MiB; at least 64 KiB. At four times as
    /// many, the appending transaction flushes itself.
    pub tail_bytes_max: u64,
    /// Milliseconds without a write after which a tail of at least `flush_idle_rows_min` rows is flushed. Default 5,000; 0 means
    /// at once.
    pub flush_idle_ms: u64,
    /// Rows below which an idle tail stays where it is, so that no tiny segments arise. Default 8,192.
    pub flush_idle_rows_min: u64,
    /// Rows that a bulk load buffers, sorts and writes as one segment. Default 1,048,576, which is also the greatest value.
    pub bulk_segment_rows: usize,
    /// Bytes that a bulk load buffers at most before it writes a segment, however few the rows. Default 768 MiB; at least 1 MiB.
    pub bulk_segment_bytes: usize,
    /// Rows of a full segment, which compaction makes. Default 1,048,576, which is also the greatest value. Wide rows make smaller segments: one holds at most
    /// `bulk_segment_bytes` before encoding.
    pub compaction_segment_rows: usize,
    /// Bytes that compaction in the background reads and writes a second, on average: after a step it pauses accordingly. Default 128 MiB; 0 means without a limit.
    pub compaction_bytes_per_second: u64,
    /// Threads that encode the columns of one segment. Default 2; 0 counts as 1. They live as long as the segment is written.
    pub encode_threads: usize,
    /// Bytes of log after which a checkpoint is taken. Default 256 MiB; at least 64 KiB. Start-up replays at most about as much.
    pub checkpoint_wal_bytes: u64,
    /// Bytes of decoded dictionaries that are kept for later reads. Default 256 MiB; 0 keeps none.
    pub dictionary_cache_bytes: usize,
    /// Bytes of decoded granules that are kept for later reads of single rows, where an encoding gives no way to one row (compressed
    /// strings, lists). Default 64 MiB; 0 keeps none.
    pub granule_cache_bytes: usize,
}

impl Default for StorageOptions {
    fn default() -> StorageOptions {
        StorageOptions {
            wal_file_bytes: 64 << 20,
            tail_rows_max: 131_072,
            tail_bytes_max: 32 << 20,
            flush_idle_ms: 5_000,
            flush_idle_rows_min: 8_192,
            bulk_segment_rows: 1_048_576,
            bulk_segment_bytes: 768 << 20,
            compaction_segment_rows: 1_048_576,
            compaction_bytes_per_second: 128 << 20,
            encode_threads: 2,
            checkpoint_wal_bytes: 256 << 20,
            dictionary_cache_bytes: 256 << 20,
            granule_cache_bytes: 64 << 20,
        }
    }
}
