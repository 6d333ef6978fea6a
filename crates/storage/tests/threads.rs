//! Many threads at once: transfers between accounts keep their sum, whatever is flushed, checkpointed and compacted meanwhile.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use colonnade_storage::{Database, Isolation, StorageOptions, Thoroughness, WriteError};
use colonnade_types::TxnId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::{Fixture, batch, rows, scan};

const ACCOUNTS: i64 = 40;
const BALANCE: i64 = 1_000;

struct StopOnDrop<'a>(&'a Database, &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
        // After a failure; else it is closed already.
        let _ = self.0.close();
    }
}

#[test]
fn transfers_keep_the_sum_under_flush_checkpoint_and_compaction() {
    let options = StorageOptions {
        tail_rows_max: 1_024,
        checkpoint_wal_bytes: 1 << 16,
        wal_file_bytes: 1 << 18,
        flush_idle_ms: 0,
        flush_idle_rows_min: 100,
        ..StorageOptions::default()
    };
    let fixture = Fixture::with(options);
    let table = fixture.create("accounts", true);
    fixture.insert(&table, (0..ACCOUNTS).map(|id| (id, BALANCE)));
    let (stop, commits, conflicts) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let db = &fixture.db;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| db.run_log_writer());
        let maintenance = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                db.maintain().unwrap();
                db.wait_for_work(Duration::from_millis(5));
            }
        });
        let compactor = scope.spawn(|| {
            let mut merged = 0;
            while !stop.load(Ordering::Relaxed) {
                merged += db.compact_table(table.storage, Thoroughness::Full, &|| true).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            merged
        });
        let transfers: Vec<_> = (0..4)
            .map(|seed| {
                let (stop, commits, conflicts, table) = (&stop, &commits, &conflicts, &table);
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed);
                    while !stop.load(Ordering::Relaxed) {
                        let isolation =
                            if random.random() { Isolation::ReadCommitted } else { Isolation::RepeatableRead };
                        let mut txn = db.begin(isolation);
                        let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
                        let amount = random.random_range(1..10);
                        let mut change = |id: i64, by: i64| {
                            // One snapshot for reading and writing: under READ COMMITTED two would lose updates.
                            let snapshot = txn.snapshot();
                            let found = scan(&snapshot, table).into_iter().find(|row| row.0 == id).unwrap();
                            txn.delete(&snapshot, table, &[found.2])?;
                            txn.append(table, &batch([(id, found.1 + by)]))
                        };
                        let done =
                            if from == to { Ok(()) } else { change(from, -amount).and_then(|()| change(to, amount)) };
                        match done {
                            Ok(()) => {
                                txn.commit().unwrap().wait().unwrap();
                                commits.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(WriteError::Blocked(TxnId(_)) | WriteError::Conflict) => {
                                conflicts.fetch_add(1, Ordering::Relaxed);
                                drop(txn);
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        // A failed assertion must not leave the threads running.
        let stopper = StopOnDrop(db, &stop);
        let until = Instant::now() + Duration::from_secs(4);
        while Instant::now() < until {
            let now = rows(&db.snapshot(), &table);
            assert_eq!(now.len() as i64, ACCOUNTS);
            assert_eq!(now.values().sum::<i64>(), ACCOUNTS * BALANCE);
        }
        stop.store(true, Ordering::Relaxed);
        transfers.into_iter().for_each(|thread| thread.join().unwrap());
        maintenance.join().unwrap();
        assert!(compactor.join().unwrap() > 0, "segments were merged meanwhile");
        db.close().unwrap();
        drop(stopper);
        writer.join().unwrap();
    });
    assert!(commits.load(Ordering::Relaxed) > 20, "{commits:?} commits, {conflicts:?} conflicts");
    let expected = fixture.rows(&table);
    let fixture = fixture.crash();
    assert_eq!(fixture.rows(&table), expected);
}
