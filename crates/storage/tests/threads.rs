//! Many threads at once: transfers between accounts keep their sum, whatever is flushed, checkpointed and compacted meanwhile.

mod support;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use colonnade_storage::{Database, Isolation, LockedBy, RowLockMode, StorageOptions, Thoroughness, WriteError};
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

/// Threads lock rows in all modes, some change them too, while the rows are flushed away under them. `holders` of a row counts sharers, and
/// stands far below zero while one holds it alone: whoever gets a lock that the count forbids has found a hole.
#[test]
fn locks_exclude_while_rows_move() {
    const ALONE: i64 = -1_000_000;
    let options = StorageOptions {
        tail_rows_max: 256,
        checkpoint_wal_bytes: 1 << 14,
        flush_idle_ms: 0,
        flush_idle_rows_min: 1,
        ..StorageOptions::default()
    };
    let fixture = Fixture::with(options);
    let table = fixture.create("t", true);
    fixture.insert(&table, (0..8).map(|id| (id, 0)));
    let holders: Vec<AtomicI64> = (0..8).map(|_| AtomicI64::new(0)).collect();
    let (stop, locked, changed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let db = &fixture.db;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| db.run_log_writer());
        let flusher = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                db.flush_table(table.storage).unwrap();
                db.maintain().unwrap();
                db.compact_table(table.storage, Thoroughness::Full, &|| true).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let lockers: Vec<_> = (0..4)
            .map(|seed| {
                let (stop, locked, changed, table, holders) = (&stop, &locked, &changed, &table, &holders);
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed);
                    while !stop.load(Ordering::Relaxed) {
                        let mut txn = db.begin(Isolation::ReadCommitted);
                        let snapshot = txn.snapshot();
                        let id = random.random_range(0..8);
                        let modes =
                            [RowLockMode::KeyShare, RowLockMode::Share, RowLockMode::NoKeyUpdate, RowLockMode::Update];
                        let mode = modes[random.random_range(0..4)];
                        let Some(found) = scan(&snapshot, table).into_iter().find(|row| row.0 == id) else { continue };
                        match txn.lock_rows(&snapshot, table, &[found.2], mode, LockedBy::Blocks) {
                            Ok(_) => {}
                            Err(WriteError::Blocked(_) | WriteError::Conflict) => continue,
                            Err(other) => panic!("{other}"),
                        }
                        locked.fetch_add(1, Ordering::Relaxed);
                        let holder = &holders[id as usize];
                        match mode {
                            // Beside one that holds it alone but keeps the key: nothing to count.
                            RowLockMode::KeyShare => {}
                            RowLockMode::Share => {
                                assert!(holder.fetch_add(1, Ordering::SeqCst) >= 0, "shared with one that is alone");
                                std::thread::yield_now();
                                holder.fetch_sub(1, Ordering::SeqCst);
                            }
                            RowLockMode::NoKeyUpdate | RowLockMode::Update => {
                                assert_eq!(holder.fetch_add(ALONE, Ordering::SeqCst), 0, "not alone");
                                std::thread::yield_now();
                                holder.fetch_sub(ALONE, Ordering::SeqCst);
                                if random.random() {
                                    let deleted = if mode == RowLockMode::Update {
                                        txn.delete(&snapshot, table, &[found.2])
                                    } else {
                                        txn.delete_keeping_keys(&snapshot, table, &[found.2])
                                    };
                                    match deleted {
                                        Ok(()) => {}
                                        other => panic!("its own row: {other:?}"),
                                    }
                                    txn.append(table, &batch([(id, found.1 + 1)])).unwrap();
                                    changed.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        }
                        if random.random_range(0..4) > 0 || !txn.is_read_only() {
                            txn.commit().unwrap().wait().unwrap();
                        }
                    }
                })
            })
            .collect();
        let stopper = StopOnDrop(db, &stop);
        std::thread::sleep(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
        lockers.into_iter().for_each(|thread| thread.join().unwrap());
        flusher.join().unwrap();
        db.close().unwrap();
        drop(stopper);
        writer.join().unwrap();
    });
    assert!(locked.load(Ordering::Relaxed) > 50, "{locked:?} locks");
    let rows = fixture.rows(&table);
    assert_eq!(rows.values().sum::<i64>() as u64, changed.load(Ordering::Relaxed), "no change is lost");
    assert_eq!(fixture.crash().rows(&table), rows);
}
