//! A real driver: types in both formats, transactions, cancellation, limits, passwords, the end of the process.

mod common;

use std::time::{Duration, Instant};

use colonnade_server::{Config, Server, StartError};
use common::{TestServer, sql_error};
use futures::{SinkExt, StreamExt};
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// A query that runs until it is stopped.
const ENDLESS: &str = "select count(*) from generate_series(1, 100000000000) as s(n) where n % 7 = 8";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn values_survive_parameters_and_results() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .batch_execute("create table v (i integer, l bigint, f double precision, t text, b boolean, y bytea)")
        .await
        .unwrap();
    let insert = client.prepare("insert into v values ($1, $2, $3, $4, $5, $6)").await.unwrap();
    let bytes: &[u8] = b"\x00\xff";
    let count = client.execute(&insert, &[&7_i32, &i64::MAX, &1.5_f64, &"grüße", &true, &bytes]).await.unwrap();
    assert_eq!(count, 1);
    let none: Option<i32> = None;
    client.execute("insert into v (i, t) values ($1, $2)", &[&none, &""]).await.unwrap();
    let rows = client.query("select i, l, f, t, b, y from v order by i nulls last", &[]).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].get::<_, i32>(0), 7);
    assert_eq!(rows[0].get::<_, i64>(1), i64::MAX);
    assert!((rows[0].get::<_, f64>(2) - 1.5).abs() < f64::EPSILON);
    assert_eq!(rows[0].get::<_, &str>(3), "grüße");
    assert!(rows[0].get::<_, bool>(4));
    assert_eq!(rows[0].get::<_, &[u8]>(5), bytes);
    assert_eq!(rows[1].get::<_, Option<i32>>(0), None);
    let messages = client.simple_query("select i, b from v order by i nulls last").await.unwrap();
    let texts: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0).map(str::to_owned), row.get(1).map(str::to_owned))),
            _ => None,
        })
        .collect();
    assert_eq!(texts, [(Some("7".to_owned()), Some("t".to_owned())), (None, None)]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transactions_are_all_or_nothing_and_survive_a_restart() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.batch_execute("create table t (n integer)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.execute("insert into t values (1)", &[]).await.unwrap();
    transaction.batch_execute("create table gone (n integer)").await.unwrap();
    transaction.rollback().await.unwrap();
    client.batch_execute("insert into t values (2); insert into t values (3)").await.unwrap();
    client.batch_execute("insert into t values (4); select 1/0").await.unwrap_err();
    let error = client.query("select * from gone", &[]).await.unwrap_err();
    assert_eq!(sql_error(&error).0, "42P01");
    let TestServer { server: running, directory } = server;
    running.unwrap().stop().await.unwrap();
    let server = TestServer { server: Some(Server::start(TestServer::config(&directory)).await.unwrap()), directory };
    let client = server.client().await;
    let rows = client.query("select n from t order by n", &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(), [2, 3]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_portal_is_read_in_pieces() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let transaction = client.transaction().await.unwrap();
    let statement = transaction.prepare("select n from generate_series(1, 25000) as s(n)").await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    let mut sum = 0;
    loop {
        let rows = transaction.query_portal(&portal, 9_999).await.unwrap();
        if rows.is_empty() {
            break;
        }
        sum += rows.len();
        // Other statements run between the pieces.
        transaction.query("select 1", &[]).await.unwrap();
    }
    assert_eq!(sum, 25_000);
    transaction.commit().await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn copy_in_and_out() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client.batch_execute("create table c (n integer, t text)").await.unwrap();
    let sink = client.copy_in("copy c from stdin (format csv)").await.unwrap();
    futures::pin_mut!(sink);
    for part in 0..50 {
        let lines: String = (0..100).map(|n| format!("{},\"row, {n}\"\n", part * 100 + n)).collect();
        sink.send(bytes::Bytes::from(lines)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 5_000);
    let stream = client.copy_out("copy (select n from c where n < 3 order by n) to stdout").await.unwrap();
    let chunks: Vec<_> = stream.map(|chunk| chunk.unwrap()).collect().await;
    assert_eq!(chunks.concat(), b"0\n1\n2\n");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancel_stops_the_statement_and_leaves_the_session() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let token = client.cancel_token();
    let (result, ()) = tokio::join!(client.simple_query(ENDLESS), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await.unwrap();
    });
    let (state, text) = sql_error(&result.unwrap_err());
    assert_eq!((state.as_str(), text.as_str()), ("57014", "canceling statement due to user request"));
    client.simple_query("select 1").await.unwrap();
    // A cancel that comes when nothing runs is forgotten.
    token.cancel_query(NoTls).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.simple_query("select 1").await.unwrap();
    // Joins that find a great many rows, or none, in one pair of batches.
    for condition in ["(a.n * b.n) % 7 = 1", "a.n * b.n = -1", "a.n > 0", "a.n % 2 = b.n % 2"] {
        let sql = format!(
            "select count(*) from generate_series(1, 1000000) as a(n), generate_series(1, 1000000) as b(n) where {condition}"
        );
        let (result, ()) = tokio::join!(client.simple_query(&sql), async {
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            token.cancel_query(NoTls).await.unwrap();
        });
        assert_eq!(sql_error(&result.unwrap_err()).0, "57014", "{condition}");
    }
    client.batch_execute("set statement_timeout = 100").await.unwrap();
    let (state, text) = sql_error(&client.simple_query(ENDLESS).await.unwrap_err());
    assert_eq!((state.as_str(), text.as_str()), ("57014", "canceling statement due to statement timeout"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_vanishes_takes_its_statement_along() {
    let server = TestServer::start().await;
    let engine = server.server.as_ref().unwrap().engine().clone();
    let running = || engine.sessions().activity().iter().filter(|session| session.state == "active").count();
    let address = server.pg();
    let raw = tokio::task::spawn_blocking(move || {
        let mut client = common::RawClient::start(address);
        client.send(b'Q', &[ENDLESS.as_bytes(), b"\0"].concat());
        client
    })
    .await
    .unwrap();
    wait_until("the statement runs", || running() == 1).await;
    drop(raw);
    wait_until("the statement is gone", || running() == 0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_reader_holds_no_memory_and_no_one_up() {
    let server = TestServer::start().await;
    let address = server.pg();
    let raw = tokio::task::spawn_blocking(move || {
        let mut client = common::RawClient::start(address);
        client.send(b'Q', b"select repeat('x', 1000) from generate_series(1, 2000000)\0");
        client.next().unwrap();
        client
    })
    .await
    .unwrap();
    // Two gigabytes wait to be read; others are served all the same.
    server.client().await.simple_query("select 1").await.unwrap();
    drop(raw);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_connection_too_many_is_refused() {
    let server = TestServer::with(|config| config.connections_max = 2).await;
    let first = server.client().await;
    let _second = server.client().await;
    let error = server.try_client("user=colonnade").await.err().unwrap();
    let (state, text) = sql_error(&error);
    assert_eq!((state.as_str(), text.as_str()), ("53300", "sorry, too many clients already"));
    drop(first);
    let mut third = server.try_client("user=colonnade").await;
    for _ in 0..100 {
        if third.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        third = server.try_client("user=colonnade").await;
    }
    assert!(third.is_ok());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_password_is_asked_for_and_checked() {
    let server =
        TestServer::with(|config| config.password = Some(colonnade_server::config::Secret("open sesame".to_owned())))
            .await;
    let error = server.try_client("user=colonnade password=wrong").await.err().unwrap();
    let (state, text) = sql_error(&error);
    assert_eq!((state.as_str(), text.as_str()), ("28P01", "password authentication failed for user \"colonnade\""));
    assert!(server.try_client("user=colonnade").await.is_err());
    let client = server.try_client("user=colonnade password='open sesame'").await.unwrap();
    client.simple_query("select 1").await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_end_of_the_process_ends_statements_and_connections() {
    let mut server = TestServer::start().await;
    let (idle, busy) = (server.client().await, server.client().await);
    let statement = tokio::spawn(async move { busy.simple_query(ENDLESS).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    server.server.take().unwrap().stop().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    let (state, text) = sql_error(&statement.await.unwrap().unwrap_err());
    assert_eq!((state.as_str(), text.as_str()), ("57P01", "terminating connection due to administrator command"));
    assert!(idle.simple_query("select 1").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_taken_directory_and_a_taken_port_are_named() {
    let server = TestServer::start().await;
    let error = Server::start(TestServer::config(&server.directory)).await.err().unwrap();
    assert!(matches!(error, StartError::Open(_)), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
    let other = tempfile::tempdir().unwrap();
    let config = Config { pg_listen: Some(server.pg()), ..TestServer::config(&other) };
    let error = Server::start(config).await.err().unwrap();
    let text = error.to_string();
    assert!(text.contains(&server.pg().to_string()) && text.contains("pg_listen"), "{text}");
    server.stop().await;
}

async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
