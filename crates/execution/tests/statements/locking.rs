//! Sessions that wait for each other: row locks, queues, upserts of one key, table locks, deadlocks.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use colonnade_execution::Session;
use parking_lot::Mutex;

use crate::server::{Rows, TestServer, fails, ok, query};

type Waiting = tokio::task::JoinHandle<(Session, Result<Rows, colonnade_execution::Error>)>;

/// Starts a statement that has to wait, and sees to it that it does.
async fn waits(server: &TestServer, mut session: Session, sql: &'static str) -> Waiting {
    let before = server.database.metrics().waiting_transactions;
    let waiting = tokio::spawn(async move {
        let outcome = query(&mut session, sql).await;
        (session, outcome)
    });
    while server.database.metrics().waiting_transactions == before {
        assert!(!waiting.is_finished(), "{sql} waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    waiting
}

async fn ends(waiting: Waiting) -> (Session, Result<Rows, colonnade_execution::Error>) {
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the wait ends").expect("the task lives")
}

async fn with_rows() -> (TestServer, Session) {
    let server = TestServer::start();
    let mut session = server.session();
    ok(&mut session, "create table t (a int primary key, v int)").await;
    ok(&mut session, "insert into t select g, 0 from generate_series(1, 10) g").await;
    (server, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_lock_sees_the_newest_version() {
    let (server, mut one) = with_rows().await;
    ok(&mut one, "begin; update t set v = 5 where a = 1").await;
    let two = waits(&server, server.session(), "begin; select v from t where a = 1 for update").await;
    ok(&mut one, "commit").await;
    let (mut two, rows) = ends(two).await;
    assert_eq!(rows.unwrap(), ["5"]);
    // And keeps others from it.
    let three = waits(&server, server.session(), "update t set v = v + 1 where a = 1").await;
    ok(&mut two, "update t set v = 7 where a = 1; commit").await;
    ends(three).await.1.unwrap();
    assert_eq!(ok(&mut one, "select v from t where a = 1").await, ["8"]);
    // A row that the newest version takes out of the query is not in its result.
    ok(&mut one, "begin; update t set v = 100 where a = 2").await;
    let two =
        waits(&server, server.session(), "select a from t where a in (2, 3) and v < 50 order by a for update").await;
    ok(&mut one, "commit").await;
    assert_eq!(ends(two).await.1.unwrap(), ["3"]);
    ok(&mut one, "begin; delete from t where a = 4").await;
    let two = waits(&server, server.session(), "select a from t where a = 4 for share").await;
    ok(&mut one, "commit").await;
    assert!(ends(two).await.1.unwrap().is_empty());
    // After a rollback it is there.
    ok(&mut one, "begin; delete from t where a = 5").await;
    let two = waits(&server, server.session(), "select a from t where a = 5 for share").await;
    ok(&mut one, "rollback").await;
    assert_eq!(ends(two).await.1.unwrap(), ["5"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_last_over_a_flush_and_end_with_a_savepoint() {
    let (server, mut one) = with_rows().await;
    ok(&mut one, "begin; savepoint s; select a from t where a <= 2 for update").await;
    let mut vacuum = server.session();
    ok(&mut vacuum, "vacuum t").await;
    let two = waits(&server, server.session(), "delete from t where a = 2").await;
    ok(&mut one, "rollback to s").await;
    assert_eq!(ends(two).await.1.unwrap(), ["DELETE 1"]);
    ok(&mut one, "commit").await;
    assert_eq!(ok(&mut one, "select count(*) from t").await, ["9"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_a_queue_take_each_job_once() {
    let server = TestServer::start();
    let mut session = server.session();
    ok(&mut session, "create table jobs (id int primary key, state text)").await;
    ok(&mut session, "insert into jobs select g, 'new' from generate_series(1, 120) g").await;
    let taken = Arc::new(Mutex::new(Vec::new()));
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let (mut session, taken) = (server.session(), Arc::clone(&taken));
            tokio::spawn(async move {
                loop {
                    let sql = if worker % 2 == 0 {
                        "begin; select id from jobs where state = 'new' order by id limit 3 for update skip locked"
                    } else {
                        "begin; select id from jobs where state = 'new' order by id for update skip locked limit 1"
                    };
                    let jobs = ok(&mut session, sql).await;
                    if jobs.is_empty() {
                        ok(&mut session, "commit").await;
                        return;
                    }
                    let list = jobs.join(", ");
                    ok(&mut session, &format!("update jobs set state = 'done' where id in ({list})")).await;
                    ok(&mut session, "commit").await;
                    taken.lock().extend(jobs);
                }
            })
        })
        .collect();
    for worker in workers {
        tokio::time::timeout(Duration::from_secs(60), worker).await.unwrap().unwrap();
    }
    let taken = taken.lock();
    assert_eq!(taken.len(), 120, "none twice");
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 120, "all of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_of_the_same_keys_neither_fail_nor_duplicate() {
    let server = TestServer::start();
    let mut session = server.session();
    ok(&mut session, "create table counts (k int primary key, n int)").await;
    let rows = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..4_u64)
        .map(|writer| {
            let (mut session, rows) = (server.session(), Arc::clone(&rows));
            tokio::spawn(async move {
                for round in 0..40_u64 {
                    // Overlapping runs of keys in one order, new ones among old ones.
                    let from = (writer * 3 + round) % 20;
                    let sql = format!(
                        "insert into counts select g, 1 from generate_series({from}, {from} + 7) g \
                         on conflict (k) do update set n = counts.n + excluded.n"
                    );
                    assert_eq!(ok(&mut session, &sql).await, ["INSERT 0 8"]);
                    rows.fetch_add(8, Ordering::Relaxed);
                    let sql = format!("insert into counts values ({}, 1) on conflict do nothing", 1_000 + round);
                    rows.fetch_add(u64::from(ok(&mut session, &sql).await == ["INSERT 0 1"]), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut flusher = server.session();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        ok(&mut flusher, "vacuum counts").await;
        let counted = ok(&mut flusher, "select count(*) = count(distinct k) from counts").await;
        assert_eq!(counted, ["t"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let expected = rows.load(Ordering::Relaxed).to_string();
    assert_eq!(ok(&mut session, "select sum(n) from counts").await, [expected]);
    assert_eq!(ok(&mut session, "select count(*) from counts where k >= 1000").await, ["40"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upsert_waits_for_the_key_and_takes_what_comes_of_it() {
    let (server, mut one) = with_rows().await;
    let upsert = "insert into t values (50, 1) on conflict (a) do update set v = t.v + 10 returning v";
    ok(&mut one, "begin; insert into t values (50, 1)").await;
    let two = waits(&server, server.session(), upsert).await;
    ok(&mut one, "rollback").await;
    assert_eq!(ends(two).await.1.unwrap(), ["1"], "inserted");
    ok(&mut one, "begin; update t set v = 5 where a = 50").await;
    let two = waits(&server, server.session(), upsert).await;
    ok(&mut one, "commit").await;
    assert_eq!(ends(two).await.1.unwrap(), ["15"], "updated in the newest version");
    ok(&mut one, "begin; delete from t where a = 50").await;
    let two = waits(&server, server.session(), upsert).await;
    ok(&mut one, "commit").await;
    assert_eq!(ends(two).await.1.unwrap(), ["1"], "inserted again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_names_who_waits_for_whom() {
    let (server, mut one) = with_rows().await;
    let mut two = server.session_of(8);
    ok(&mut one, "begin; update t set v = 1 where a = 1").await;
    ok(&mut two, "begin; lock table t in row share mode; select a from t where a = 2 for update").await;
    let one = waits(&server, one, "update t set v = 1 where a = 2").await;
    let error = fails(&mut two, "update t set v = 2 where a = 1", "40P01").await;
    assert_eq!(error.message, "deadlock detected");
    assert_eq!(error.hint.as_deref(), Some("See server log for query details."));
    let detail = error.detail.clone().unwrap();
    let lines: Vec<&str> = detail.lines().collect();
    assert_eq!(lines.len(), 2, "{detail}");
    assert!(lines[0].starts_with("Process 8 waits for ShareLock on transaction "), "{detail}");
    assert!(lines[0].ends_with("; blocked by process 7."), "{detail}");
    assert!(lines[1].starts_with("Process 7 waits for ShareLock on transaction "), "{detail}");
    assert!(lines[1].ends_with("; blocked by process 8."), "{detail}");
    ok(&mut two, "rollback").await;
    let (mut one, outcome) = ends(one).await;
    assert_eq!(outcome.unwrap(), ["UPDATE 1"]);
    ok(&mut one, "commit").await;
    // Through a lock of a table.
    ok(&mut one, "begin; lock table t in share mode").await;
    ok(&mut two, "begin; lock table t in share mode").await;
    let one = waits(&server, one, "update t set v = 3 where a = 1").await;
    let error = fails(&mut two, "update t set v = 3 where a = 1", "40P01").await;
    let detail = error.detail.clone().unwrap();
    assert!(detail.starts_with("Process 8 waits for RowExclusiveLock on relation "), "{detail}");
    assert!(
        detail.contains(" of database 16000; blocked by process 7.\nProcess 7 waits for RowExclusiveLock"),
        "{detail}"
    );
    ok(&mut two, "rollback").await;
    assert_eq!(ends(one).await.1.unwrap(), ["UPDATE 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_lock_by_name_keeps_readers_out_until_it_ends() {
    let (server, mut one) = with_rows().await;
    ok(&mut one, "begin; lock table t; insert into t values (99, 9)").await;
    let two = waits(&server, server.session(), "select count(*) from t").await;
    ok(&mut one, "commit").await;
    assert_eq!(ends(two).await.1.unwrap(), ["11"], "on a snapshot from after the wait");
    assert!(!server.database.are_readers_kept_out());
}
