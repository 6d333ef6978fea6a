//! The protocol byte by byte: order of messages, pipelining, malformed and partial input, limits.

mod common;

use std::io::{Read, Write};
use std::time::Duration;

use common::{RawClient, TestServer, kinds, message};

/// Runs a blocking test beside a server.
async fn with_server(
    change: impl FnOnce(&mut colonnade_server::Config),
    test: impl FnOnce(std::net::SocketAddr) + Send + 'static,
) {
    let server = TestServer::with(change).await;
    let address = server.pg();
    tokio::task::spawn_blocking(move || test(address)).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_messages_are_in_order() {
    with_server(
        |_| {},
        |address| {
            let mut client = RawClient::connect(address);
            // Encryption is refused with one byte, twice, before the start-up message.
            for code in [80_877_103_i32, 80_877_104] {
                client.write(&[&8_i32.to_be_bytes()[..], &code.to_be_bytes()].concat());
                let mut answer = [0];
                client.socket.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"N");
            }
            client.startup(196_608, &[("user", "postgres"), ("application_name", "raw")]);
            let messages = client.until_ready();
            let kinds = kinds(&messages);
            assert!(kinds.starts_with("RS") && kinds.ends_with("KZ"), "{kinds}");
            let statuses: Vec<String> =
                messages.iter().filter(|message| message.kind == 'S').map(common::RawMessage::text).collect();
            for expected in [
                "server_version\0",
                "client_encoding\0UTF8\0",
                "standard_conforming_strings\0on\0",
                "application_name\0raw\0",
            ] {
                assert!(statuses.iter().any(|status| status.starts_with(expected)), "{expected} in {statuses:?}");
            }
            assert_eq!(messages.last().unwrap().body, b"I");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_minor_versions_and_unknown_options_are_negotiated() {
    with_server(
        |_| {},
        |address| {
            let mut client = RawClient::connect(address);
            client.startup((3 << 16) | 9999, &[("user", "colonnade"), ("_pq_.magic", "1")]);
            let messages = client.until_ready();
            assert_eq!(messages[0].kind, 'v');
            assert_eq!(messages[0].body[..8], [0, 3, 0, 2, 0, 0, 0, 1]);
            assert_eq!(&messages[0].body[8..], b"_pq_.magic\0");
            assert_eq!(messages.last().unwrap().kind, 'Z');
            let key = messages.iter().find(|message| message.kind == 'K').unwrap();
            assert_eq!(key.body.len(), 4 + 32);
            let mut old = RawClient::connect(address);
            old.startup(2 << 16, &[]);
            let error = old.next().unwrap();
            assert_eq!(error.field(b'C').as_deref(), Some("0A000"));
            assert!(old.next().is_none());
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_with_a_reason() {
    with_server(
        |_| {},
        |address| {
            for (parameters, state, text) in [
                (&[][..], "28000", "no PostgreSQL user name specified in startup packet"),
                (&[("user", "root")][..], "28000", "role \"root\" does not exist"),
                (&[("user", "postgres"), ("database", "shop")][..], "3D000", "database \"shop\" does not exist"),
                (
                    &[("user", "postgres"), ("replication", "true")][..],
                    "0A000",
                    "replication connections are not supported",
                ),
            ] {
                let mut client = RawClient::connect(address);
                client.startup(196_608, parameters);
                let error = client.next().unwrap();
                assert_eq!(error.field(b'S').as_deref(), Some("FATAL"));
                assert_eq!(error.field(b'C').as_deref(), Some(state));
                assert_eq!(error.field(b'M').as_deref(), Some(text));
                assert!(client.next().is_none());
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_before_authentication_ends_the_connection_and_nothing_else() {
    with_server(
        |config| config.authentication_timeout_ms = 500,
        |address| {
            for bytes in [
                &b"GET / HTTP/1.1\r\n\r\n"[..],
                &[0, 0, 0, 0, 0, 0, 0, 0],
                &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
                &[0x80, 0, 0, 0, 0, 3, 0, 0],
                &[0, 0, 0, 9, 0, 3, 0, 0, b'u'],
                &[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 1],
            ] {
                let mut client = RawClient::connect(address);
                client.write(bytes);
                while client.next().is_some() {}
            }
            // Whoever says nothing is shown the door in time.
            let mut silent = RawClient::connect(address);
            let started = std::time::Instant::now();
            assert!(silent.next().is_none());
            assert!(started.elapsed() < Duration::from_secs(5));
            assert_eq!(kinds(&RawClient::start(address).query("select 1")), "TDCZ");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_queries_answer_each_statement_and_stop_at_an_error() {
    with_server(
        |_| {},
        |address| {
            let mut client = RawClient::start(address);
            assert_eq!(kinds(&client.query("")), "IZ");
            assert_eq!(kinds(&client.query(" ; ; ")), "IZ");
            assert_eq!(kinds(&client.query("select 1; select 2")), "TDCTDCZ");
            let messages = client.query("select 1; select 1/0; select 3");
            let text = kinds(&messages);
            // The failing statement may or may not have described its row before it failed.
            assert!(text == "TDCEZ" || text == "TDCTEZ", "{text}");
            assert_eq!(messages[messages.len() - 2].field(b'C').as_deref(), Some("22012"));
            let messages = client.query("select 1; selekt 2");
            assert_eq!(kinds(&messages), "EZ", "a text is parsed whole before any of it runs");
            assert_eq!(messages[0].field(b'C').as_deref(), Some("42601"));
            assert_eq!(messages[0].field(b'P').as_deref(), Some("11"));
            assert_eq!(kinds(&client.query("begin")), "CZ");
            let messages = client.query("select nonsense");
            assert_eq!(messages.last().unwrap().body, b"E");
            let messages = client.query("select 1");
            assert_eq!(messages[0].field(b'C').as_deref(), Some("25P02"));
            let messages = client.query("commit");
            assert_eq!(messages[0].text(), "ROLLBACK\0");
            assert_eq!(messages.last().unwrap().body, b"I");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_may_come_byte_by_byte_or_all_at_once() {
    with_server(
        |_| {},
        |address| {
            let mut client = RawClient::start(address);
            for byte in message(b'Q', b"select 'slow'\0") {
                client.write(&[byte]);
                client.socket.flush().unwrap();
            }
            assert_eq!(kinds(&client.until_ready()), "TDCZ");
            // A pipeline of extended messages, with an error in the middle: the rest up to its Sync is skipped.
            let good = [
                message(b'P', b"\0select 1\0\0\0"),
                message(b'B', b"\0\0\0\0\0\0\0\0"),
                message(b'D', b"P\0"),
                message(b'E', b"\0\0\0\0\0"),
                message(b'S', b""),
            ]
            .concat();
            let bad = [
                message(b'P', b"\0select * from nowhere\0\0\0"),
                message(b'B', b"\0\0\0\0\0\0\0\0"),
                message(b'E', b"\0\0\0\0\0"),
                message(b'S', b""),
            ]
            .concat();
            client.write(&[good.clone(), bad, good].concat());
            assert_eq!(kinds(&client.until_ready()), "12TDCZ");
            let messages = client.until_ready();
            assert_eq!(kinds(&messages), "EZ");
            assert_eq!(messages[0].field(b'C').as_deref(), Some("42P01"));
            assert_eq!(kinds(&client.until_ready()), "12TDCZ");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_are_errors_and_wrong_lengths_end_the_connection() {
    with_server(
        |config| config.message_bytes_max = 1 << 20,
        |address| {
            let mut client = RawClient::start(address);
            // A statement that is not terminated, and one that is not UTF-8: errors of that message alone.
            client.send(b'Q', b"select 1");
            let messages = client.until_ready();
            assert_eq!((kinds(&messages).as_str(), messages[0].field(b'C').as_deref()), ("EZ", Some("08P01")));
            client.send(b'Q', b"select '\xff'\0");
            let messages = client.until_ready();
            assert_eq!(messages[0].field(b'C').as_deref(), Some("22021"));
            // A Bind that promises more than it has.
            client.send(b'B', b"\0\0\0\0\xff\xff");
            client.send(b'S', b"");
            let messages = client.until_ready();
            assert_eq!((kinds(&messages).as_str(), messages[0].field(b'C').as_deref()), ("EZ", Some("08P01")));
            for bytes in [
                &b"Q\x7f\xff\xff\xff"[..],
                b"Q\0\0\0\x03",
                b"Q\xff\xff\xff\xff",
                b"S\0\x10\0\0",
                b"Y\0\0\0\x04",
                b"\0\0\0\0\x04",
            ] {
                let mut client = RawClient::start(address);
                client.write(bytes);
                let error = client.next().unwrap();
                assert_eq!(error.field(b'C').as_deref(), Some("08P01"), "{bytes:?}");
                assert_eq!(error.field(b'V').as_deref(), Some("FATAL"));
                assert!(client.next().is_none());
            }
            // A client that leaves in the middle of a message.
            let mut client = RawClient::start(address);
            client.write(b"Q\0\0\0\x20select");
            drop(client);
            assert_eq!(kinds(&RawClient::start(address).query("select 1")), "TDCZ");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_and_portals_follow_their_rules() {
    with_server(
        |_| {},
        |address| {
            let mut client = RawClient::start(address);
            client.write(
                &[
                    message(b'P', b"s\0select n from generate_series(1, 3) as t(n)\0\0\0"),
                    message(b'D', b"Ss\0"),
                    message(b'B', b"p\0s\0\0\0\0\0\0\0"),
                    message(b'E', b"p\0\0\0\0\x02"),
                    message(b'E', b"p\0\0\0\0\x02"),
                    message(b'E', b"p\0\0\0\0\0"),
                    message(b'C', b"Pp\0"),
                    message(b'S', b""),
                ]
                .concat(),
            );
            let messages = client.until_ready();
            assert_eq!(kinds(&messages), "1tT2DDsDCC3Z");
            assert_eq!(messages[8].text(), "SELECT 1\0");
            assert_eq!(messages[9].text(), "SELECT 0\0");
            for (bytes, state) in [
                (message(b'P', b"s\0select 1\0\0\0"), "42P05"),
                (message(b'P', b"\0select 1; select 2\0\0\0"), "42601"),
                (message(b'B', b"\0nobody\0\0\0\0\0\0\0"), "26000"),
                (message(b'B', b"\0s\0\0\0\0\x01\0\0\0\x011\0\0"), "08P01"),
                (message(b'B', b"\0s\0\0\0\0\0\0\x01\0\x07"), "22023"),
                (message(b'E', b"nobody\0\0\0\0\0"), "34000"),
                (message(b'D', b"Pnobody\0"), "34000"),
                (message(b'F', b"\0\0\0\0\0\0\0\0\0\0"), "0A000"),
            ] {
                client.write(&bytes);
                client.send(b'S', b"");
                let messages = client.until_ready();
                assert_eq!(
                    (kinds(&messages).as_str(), messages[0].field(b'C').as_deref()),
                    ("EZ", Some(state)),
                    "{bytes:?}"
                );
            }
            // An empty statement has no data, and closing what is not there is no error.
            client.write(
                &[
                    message(b'P', b"\0\0\0\0"),
                    message(b'B', b"\0\0\0\0\0\0\0\0"),
                    message(b'D', b"P\0"),
                    message(b'E', b"\0\0\0\0\0"),
                    message(b'C', b"Snobody\0"),
                    message(b'S', b""),
                ]
                .concat(),
            );
            assert_eq!(kinds(&client.until_ready()), "12nI3Z");
            // A portal does not outlive its transaction.
            client.write(
                &[
                    message(b'B', b"p\0s\0\0\0\0\0\0\0"),
                    message(b'S', b""),
                    message(b'E', b"p\0\0\0\0\0"),
                    message(b'S', b""),
                ]
                .concat(),
            );
            assert_eq!(kinds(&client.until_ready()), "2Z");
            assert_eq!(client.until_ready()[0].field(b'C').as_deref(), Some("34000"));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_takes_rows_and_survives_failures() {
    with_server(
        |_| {},
        |address| {
            let mut client = RawClient::start(address);
            client.query("create table c (a integer, b text)");
            client.send(b'Q', b"copy c from stdin\0");
            assert_eq!(client.next().unwrap().kind, 'G');
            client.send(b'd', b"1\tone\n2\tt");
            client.send(b'd', b"wo\n3\t\\N\n");
            client.send(b'c', b"");
            let messages = client.until_ready();
            assert_eq!((kinds(&messages).as_str(), messages[0].text().as_str()), ("CZ", "COPY 3\0"));
            client.send(b'Q', b"copy c from stdin\0");
            assert_eq!(client.next().unwrap().kind, 'G');
            client.send(b'f', b"changed my mind\0");
            let messages = client.until_ready();
            assert_eq!(messages[0].field(b'M').as_deref(), Some("COPY from stdin failed: changed my mind"));
            assert_eq!(messages[0].field(b'C').as_deref(), Some("57014"));
            // A bad row: the rest of the data is thrown away, and the connection goes on.
            client.send(b'Q', b"copy c from stdin\0");
            assert_eq!(client.next().unwrap().kind, 'G');
            client.write(
                &[message(b'd', b"4\tfour\nfive\tfive\n"), message(b'd', b"6\tsix\n"), message(b'c', b"")].concat(),
            );
            let messages = client.until_ready();
            assert_eq!(messages[0].field(b'C').as_deref(), Some("22P02"));
            assert!(messages[0].field(b'W').unwrap().contains("line 2, column a"), "{messages:?}");
            let messages = client.query("copy (select a, b from c order by a) to stdout");
            assert_eq!(kinds(&messages), "HdddcCZ");
            assert_eq!(messages[3].text(), "3\t\\N\n");
            assert_eq!(messages[5].text(), "COPY 3\0");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_idle_too_long_is_put_out_and_gives_back_its_locks() {
    with_server(
        |_| {},
        |address| {
            let (mut client, mut other) = (RawClient::start(address), RawClient::start(address));
            client.query("create table idle (a integer primary key)");
            client.query("insert into idle values (1)");
            client.query("set idle_in_transaction_session_timeout = '200ms'");
            // Only a transaction counts.
            std::thread::sleep(Duration::from_millis(500));
            client.query("begin");
            client.query("select a from idle for update");
            let messages = other.query("delete from idle");
            assert_eq!(messages[0].text(), "DELETE 1\0", "after the transaction was put an end to");
            let error = client.next().unwrap();
            assert_eq!((error.kind, error.field(b'S').as_deref()), ('E', Some("FATAL")));
            assert_eq!(error.field(b'C').as_deref(), Some("25P03"));
            assert_eq!(error.field(b'M').as_deref(), Some("terminating connection due to idle-in-transaction timeout"));
            assert!(client.next().is_none());
            other.query("set idle_session_timeout = '100ms'");
            let error = other.next().unwrap();
            assert_eq!(error.field(b'C').as_deref(), Some("57P05"));
            assert_eq!(error.field(b'M').as_deref(), Some("terminating connection due to idle-session timeout"));
        },
    )
    .await;
}
