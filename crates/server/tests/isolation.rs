//! Random transactions of several clients against a real process that is killed meanwhile, judged by the checker `adya`.
//!
//! The checker knows nothing of the server: from what each client wrote, read, and was told about its commits it infers which transaction must come
//! before which, and looks for cycles that the isolation level forbids (Adya 1999; Kingsbury and Alvaro 2020). The levels are checked in their *strong*
//! form: a transaction that begins after another was acknowledged sees it. Beside that the final state is held against the ledger of the clients: what was
//! acknowledged is there, what was refused is not, kills or not.
//!
//! ```sh
//! cargo test --workspace --test isolation                                                  # short; part of the test suite
//! COLONNADE_ADYA_TRANSACTIONS=100000 COLONNADE_ADYA_KILLS=50 COLONNADE_ADYA_SEED=7 COLONNADE_ADYA_BINARY=target/release/colonnade \
//!     cargo test --workspace --test isolation -- --nocapture                               # a campaign
//! ```

use std::collections::{BTreeMap, HashSet};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adya::r#gen::{GenOpts, Kind, TxnOp};
use adya::history::{Mop, OpType, Scalar};
use adya::run::{Client as AdyaClient, Outcome, RunOpts, Stats};
use adya::{History, Opts, Report, Valid, Workload};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls, Statement};

/// How large a run is.
struct Size {
    transactions: usize,
    kills: usize,
    seed: u64,
    clients: usize,
}

fn parameter<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(format!("COLONNADE_ADYA_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("COLONNADE_ADYA_{name} is not a number: {text}")),
        Err(_) => default,
    }
}

impl Size {
    fn of_the_run() -> Size {
        Size {
            transactions: parameter("TRANSACTIONS", 300),
            kills: parameter("KILLS", 2),
            seed: parameter("SEED", 1),
            clients: parameter("CLIENTS", 8),
        }
    }
}

/// A server process over a directory of its own. Its port stays the same over restarts.
struct Process {
    directory: TempDir,
    port: u16,
    child: Mutex<Option<Child>>,
}

impl Process {
    fn start() -> Process {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Process { directory: tempfile::tempdir().unwrap(), port, child: Mutex::new(None) };
        process.restart();
        process
    }

    fn binary() -> PathBuf {
        std::env::var_os("COLONNADE_ADYA_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_colonnade").into(), PathBuf::from)
    }

    /// Starts it and waits until it answers. Limits are so small that rows move into segments and checkpoints come all the time.
    fn restart(&self) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let child = Command::new(Process::binary())
            .args(["serve", "--http-listen", "off", "--pg-listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--data-dir", &self.directory.path().join("data").display().to_string()])
            .args(["--tail-rows-max", "1024", "--flush-idle-ms", "20", "--flush-idle-rows-min", "1"])
            .args(["--wal-file-bytes", "256KiB", "--checkpoint-wal-bytes", "128KiB", "--query-memory-bytes", "256MiB"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.child.lock() = Some(child);
        let begin = Instant::now();
        while let Err(error) = self.connect() {
            let ended = self.child.lock().as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "the server ended: {}", self.log());
            assert!(begin.elapsed() < Duration::from_secs(60), "the server does not answer: {error}; {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The hard end: no handler runs.
    fn kill(&self) {
        if let Some(mut child) = self.child.lock().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn connect(&self) -> Result<Connection, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let target = format!("host=127.0.0.1 port={} user=colonnade dbname=colonnade connect_timeout=10", self.port);
        let (client, task) = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&target, NoTls).await?;
            Ok::<_, tokio_postgres::Error>((client, tokio::spawn(connection)))
        })?;
        // The task ends with the client.
        drop(task);
        Ok(Connection { runtime, client })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A client and the runtime that drives it.
struct Connection {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Connection {
    fn execute(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    fn pairs(&self, sql: &str) -> Vec<(i64, String)> {
        let rows =
            self.runtime.block_on(self.client.query(sql, &[])).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// How a key that may not exist yet is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upsert {
    /// UPDATE, and INSERT if that found nothing.
    UpdateElseInsert,
    /// INSERT ... ON CONFLICT DO UPDATE.
    OnConflict,
}

impl Upsert {
    fn of_the_run() -> Upsert {
        match std::env::var("COLONNADE_ADYA_UPSERT").as_deref() {
            Ok("on_conflict") => Upsert::OnConflict,
            Ok("update") | Err(_) => Upsert::UpdateElseInsert,
            Ok(other) => panic!("COLONNADE_ADYA_UPSERT is update or on_conflict, not {other}"),
        }
    }
}

/// One of the concurrent clients.
struct Worker {
    connection: Connection,
    level: &'static str,
    upsert: Upsert,
    select: Statement,
    update: Statement,
    insert: Statement,
    finished: Arc<AtomicUsize>,
}

const TABLES: &str = "CREATE TABLE lists (k bigint PRIMARY KEY, v text NOT NULL);
    CREATE TABLE registers (k bigint PRIMARY KEY, v text NOT NULL)";

impl Worker {
    fn connect(
        process: &Process,
        level: &'static str,
        kind: Kind,
        finished: Arc<AtomicUsize>,
    ) -> Result<Worker, tokio_postgres::Error> {
        let connection = process.connect()?;
        let upsert = Upsert::of_the_run();
        let (table, new) = match kind {
            Kind::ListAppend => ("lists", "lists.v || ',' || $2::text"),
            Kind::RwRegister => ("registers", "$2::text"),
        };
        let update = format!("UPDATE {table} SET v = {new} WHERE k = $1::bigint");
        let insert = match upsert {
            Upsert::UpdateElseInsert => format!("INSERT INTO {table} VALUES ($1::bigint, $2::text)"),
            Upsert::OnConflict => {
                format!("INSERT INTO {table} VALUES ($1::bigint, $2::text) ON CONFLICT (k) DO UPDATE SET v = {new}")
            }
        };
        let prepare = |sql: &str| connection.runtime.block_on(connection.client.prepare(sql));
        let select = prepare(&format!("SELECT v FROM {table} WHERE k = $1::bigint"))?;
        let (update, insert) = (prepare(&update)?, prepare(&insert)?);
        Ok(Worker { level, upsert, select, update, insert, finished, connection })
    }

    async fn body(&self, ops: &[TxnOp]) -> Result<Vec<Option<Vec<i64>>>, tokio_postgres::Error> {
        let client = &self.connection.client;
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {}", self.level)).await?;
        let mut reads = Vec::with_capacity(ops.len());
        for op in ops {
            reads.push(match *op {
                TxnOp::Read(key) => {
                    let row = client.query_opt(&self.select, &[&key]).await?;
                    Some(adya::run::parse_list(row.as_ref().map(|row| row.get(0))))
                }
                TxnOp::Append(key, value) | TxnOp::Write(key, value) => {
                    let value = value.to_string();
                    let found = match self.upsert {
                        Upsert::UpdateElseInsert => client.execute(&self.update, &[&key, &value]).await?,
                        Upsert::OnConflict => 0,
                    };
                    if found == 0 {
                        client.execute(&self.insert, &[&key, &value]).await?;
                    }
                    None
                }
            });
        }
        Ok(reads)
    }
}

impl AdyaClient for Worker {
    fn txn(&mut self, ops: &[TxnOp]) -> Outcome {
        let outcome = self.connection.runtime.block_on(async {
            match self.body(ops).await {
                // COMMIT has not been sent, so nothing of it can be there.
                Err(error) => {
                    let _ = self.connection.client.batch_execute("ROLLBACK").await;
                    Outcome::Fail(error.to_string())
                }
                Ok(reads) => match self.connection.client.batch_execute("COMMIT").await {
                    Ok(()) => Outcome::Ok(reads),
                    Err(error) if error.as_db_error().is_some() => Outcome::Fail(error.to_string()),
                    Err(error) => Outcome::Info(error.to_string()),
                },
            }
        });
        self.finished.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    fn healthy(&mut self) -> bool {
        !self.connection.client.is_closed()
    }
}

/// What a run left.
struct Run {
    history: History,
    stats: Stats,
    /// The last state: the values of each key in their order.
    last: BTreeMap<i64, Vec<i64>>,
}

/// Runs random transactions, with the server killed `size.kills` times at even shares of them.
fn run(level: &'static str, size: &Size, r#gen: GenOpts) -> Run {
    let kind = r#gen.kind;
    let process = Process::start();
    process.connect().unwrap().execute(TABLES);
    let finished = Arc::new(AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    let options =
        RunOpts { processes: size.clients, txns: size.transactions, seed: size.seed, r#gen, ..RunOpts::default() };
    let connect = || -> Result<Box<dyn AdyaClient>, adya::Error> {
        match Worker::connect(&process, level, kind, Arc::clone(&finished)) {
            Ok(worker) => Ok(Box::new(worker)),
            Err(error) => Err(adya::Error::new(format!("{error:?}"))),
        }
    };
    let (text, stats) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for kill in 1..=size.kills {
                while finished.load(Ordering::Relaxed) < size.transactions * kill / (size.kills + 1) {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                process.kill();
                process.restart();
            }
        });
        let result = adya::run::run(&connect, &options);
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|error| panic!("{error}; {}", process.log()))
    });
    let table = if kind == Kind::ListAppend { "lists" } else { "registers" };
    let rows = process.connect().unwrap().pairs(&format!("SELECT k, v FROM {table}"));
    let keys: HashSet<i64> = rows.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), rows.len(), "a key is there twice");
    let last = rows.into_iter().map(|(key, text)| (key, adya::run::parse_list(Some(&text)))).collect();
    Run { history: History::from_json(&text).unwrap(), stats, last }
}

impl Run {
    fn check(&self, workload: Workload, model: &str) -> Report {
        let timeout = Duration::from_secs(120);
        adya::check(&self.history, workload, &Opts { models: vec![model.to_owned()], timeout, ..Opts::default() })
    }

    /// What was acknowledged is in the last state, and what was refused is not.
    fn check_ledger(&self, kind: Kind) {
        let number = |id| match self.history.show(id) {
            Scalar::Int(number) => *number,
            Scalar::Str(text) => panic!("{text} is not a number"),
        };
        let mut may_be = HashSet::new();
        for op in &self.history.ops {
            for mop in &op.value {
                let (Mop::Append { key, value } | Mop::Write { key, value }) = mop else { continue };
                let (key, value) = (number(*key), number(*value));
                let found = self.last.get(&key).is_some_and(|values| values.contains(&value));
                match op.kind {
                    OpType::Fail => assert!(!found, "{value} of key {key} was refused and is there"),
                    // A register keeps its last value only.
                    OpType::Ok if kind == Kind::ListAppend => {
                        assert!(found, "{value} of key {key} was acknowledged and is gone");
                    }
                    _ => {}
                }
                if matches!(op.kind, OpType::Ok | OpType::Info) {
                    may_be.insert((key, value));
                }
            }
        }
        for (key, values) in &self.last {
            for value in values {
                assert!(may_be.contains(&(*key, *value)), "nobody has committed {value} of key {key}");
            }
            let distinct: HashSet<&i64> = values.iter().collect();
            assert_eq!(distinct.len(), values.len(), "key {key} holds a value twice: {values:?}");
        }
    }
}

fn assert_valid(report: &Report, what: &str) {
    if report.valid != Valid::True {
        let first = report.anomalies.values().flatten().next().map(|anomaly| anomaly.explanation.clone());
        panic!("{what}: {:?}, such as\n{}", report.anomaly_types, first.unwrap_or_default());
    }
}

/// Both kinds of histories at one level: nothing that the level forbids, nothing lost, nothing back from the dead.
fn campaign(level: &'static str, model: &str) {
    let size = Size::of_the_run();
    for (kind, workload) in [(Kind::ListAppend, Workload::ListAppend), (Kind::RwRegister, Workload::RwRegister)] {
        let begin = Instant::now();
        let run = run(level, &size, GenOpts { kind, key_count: 10, ..GenOpts::default() });
        let seconds = begin.elapsed().as_secs_f64();
        run.check_ledger(kind);
        assert_valid(&run.check(workload, model), &format!("{level}, {kind:?}, seed {}", size.seed));
        let Stats { ok, fail, info } = run.stats;
        println!(
            "{level}, {kind:?}: {ok} committed, {fail} refused, {info} unknown, {} kills, seed {}, {seconds:.0} s: no anomaly against {model}",
            size.kills, size.seed
        );
        assert!(
            ok * 4 > size.transactions,
            "{ok} of {} transactions committed: too few to show anything",
            size.transactions
        );
    }
}

/// Looks for an anomaly that the level allows, until a run shows one that is in `wanted`.
fn expect_anomaly(level: &'static str, allowed: &str, forbids: &str, wanted: &[&str]) {
    let first = Size::of_the_run().seed;
    for seed in first..first + 20 {
        let size = Size { transactions: 200, kills: 0, seed, clients: 8 };
        let r#gen =
            GenOpts { kind: Kind::ListAppend, key_count: 3, min_txn_len: 2, max_txn_len: 5, max_writes_per_key: 16 };
        let run = run(level, &size, r#gen);
        assert_valid(&run.check(Workload::ListAppend, allowed), &format!("{level}, seed {seed}"));
        let report = run.check(Workload::ListAppend, forbids);
        if let Some(seen) = wanted.iter().find(|kind| report.anomaly_types.iter().any(|found| found == *kind)) {
            let count = report.anomalies.get(*seen).map_or(0, Vec::len);
            println!("{level}: {count} times {seen}, which {forbids} forbids and this level allows, with seed {seed}");
            return;
        }
    }
    panic!("{level}: twenty runs without any of {wanted:?}; the checker or the workload is blunt");
}

#[test]
fn read_committed_shows_nothing_that_it_forbids() {
    campaign("READ COMMITTED", "strong-read-committed");
}

#[test]
fn repeatable_read_shows_nothing_that_it_forbids() {
    campaign("REPEATABLE READ", "strong-snapshot-isolation");
}

#[test]
fn write_skew_is_seen_under_repeatable_read() {
    expect_anomaly("REPEATABLE READ", "strong-snapshot-isolation", "serializable", &["G2-item"]);
}

#[test]
fn read_skew_is_seen_under_read_committed() {
    let wanted = ["G-single-item", "G-nonadjacent-item"];
    expect_anomaly("READ COMMITTED", "strong-read-committed", "snapshot-isolation", &wanted);
}

/// One history for each anomaly that a level forbids: the checker has to name it.
#[test]
fn planted_anomalies_are_found() {
    let histories = [
        (
            "G1a",
            "strong-read-committed",
            r#"{"type":"invoke","process":0,"value":[["append",1,1]]}
               {"type":"fail","process":0,"value":[["append",1,1]]}
               {"type":"invoke","process":1,"value":[["r",1,null]]}
               {"type":"ok","process":1,"value":[["r",1,[1]]]}"#,
        ),
        (
            "G1b",
            "strong-read-committed",
            r#"{"type":"invoke","process":0,"value":[["append",1,1],["append",1,2]]}
               {"type":"invoke","process":1,"value":[["r",1,null]]}
               {"type":"ok","process":0,"value":[["append",1,1],["append",1,2]]}
               {"type":"ok","process":1,"value":[["r",1,[1]]]}"#,
        ),
        (
            "G1c",
            "strong-read-committed",
            r#"{"type":"invoke","process":0,"value":[["append",1,1],["r",2,null]]}
               {"type":"invoke","process":1,"value":[["append",2,1],["r",1,null]]}
               {"type":"ok","process":0,"value":[["append",1,1],["r",2,[1]]]}
               {"type":"ok","process":1,"value":[["append",2,1],["r",1,[1]]]}"#,
        ),
        (
            "lost-update",
            "repeatable-read",
            r#"{"type":"invoke","process":0,"value":[["r",1,null],["append",1,1]]}
               {"type":"invoke","process":1,"value":[["r",1,null],["append",1,2]]}
               {"type":"ok","process":0,"value":[["r",1,[]],["append",1,1]]}
               {"type":"ok","process":1,"value":[["r",1,[]],["append",1,2]]}
               {"type":"invoke","process":2,"value":[["r",1,null]]}
               {"type":"ok","process":2,"value":[["r",1,[1,2]]]}"#,
        ),
        (
            "G-single-item",
            "strong-snapshot-isolation",
            r#"{"type":"invoke","process":0,"value":[["r",1,null],["r",2,null]]}
               {"type":"invoke","process":1,"value":[["append",1,1],["append",2,1]]}
               {"type":"ok","process":1,"value":[["append",1,1],["append",2,1]]}
               {"type":"ok","process":0,"value":[["r",1,[]],["r",2,[1]]]}"#,
        ),
        (
            // Acknowledged, and not seen by a transaction that began afterwards.
            "G-single-item-realtime",
            "strong-snapshot-isolation",
            r#"{"type":"invoke","process":0,"value":[["append",1,1]]}
               {"type":"ok","process":0,"value":[["append",1,1]]}
               {"type":"invoke","process":1,"value":[["r",1,null]]}
               {"type":"ok","process":1,"value":[["r",1,[]]]}
               {"type":"invoke","process":1,"value":[["r",1,null]]}
               {"type":"ok","process":1,"value":[["r",1,[1]]]}"#,
        ),
        (
            // Two reads that no order of the appends explains: what a lost commit leaves behind.
            "incompatible-order",
            "strong-read-committed",
            r#"{"type":"invoke","process":0,"value":[["append",1,1]]}
               {"type":"ok","process":0,"value":[["append",1,1]]}
               {"type":"invoke","process":0,"value":[["append",1,2]]}
               {"type":"ok","process":0,"value":[["append",1,2]]}
               {"type":"invoke","process":1,"value":[["r",1,null]]}
               {"type":"ok","process":1,"value":[["r",1,[1]]]}
               {"type":"invoke","process":1,"value":[["r",1,null]]}
               {"type":"ok","process":1,"value":[["r",1,[2]]]}"#,
        ),
    ];
    for (anomaly, model, text) in histories {
        let history = History::from_json(text).unwrap();
        let report =
            adya::check(&history, Workload::ListAppend, &Opts { models: vec![model.to_owned()], ..Opts::default() });
        assert_eq!(report.valid, Valid::False, "{anomaly} against {model}");
        assert!(report.anomaly_types.iter().any(|found| found == anomaly), "{anomaly}: {:?}", report.anomaly_types);
    }
}

/// The ledger finds what the graph cannot: an acknowledged write that is gone without anybody having seen it, and one that was refused and is there.
#[test]
fn planted_losses_are_found() {
    let history = r#"{"type":"invoke","process":0,"value":[["append",1,1]]}
        {"type":"ok","process":0,"value":[["append",1,1]]}
        {"type":"invoke","process":0,"value":[["append",1,2]]}
        {"type":"fail","process":0,"value":[["append",1,2]]}"#;
    let run = |values: &[i64]| Run {
        history: History::from_json(history).unwrap(),
        stats: Stats::default(),
        last: BTreeMap::from([(1, values.to_vec())]),
    };
    run(&[1]).check_ledger(Kind::ListAppend);
    for wrong in [&[][..], &[1, 2], &[1, 1], &[1, 3]] {
        let found = std::panic::catch_unwind(|| run(wrong).check_ledger(Kind::ListAppend));
        assert!(found.is_err(), "{wrong:?} passes");
    }
}
