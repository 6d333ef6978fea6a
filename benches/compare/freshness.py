#!/usr/bin/env python3
"""Checks that a committed row is in everybody's next aggregate, and that all ways to read agree.

    freshness.py --checks 100000 --upserts 100000 --agreements 10000

Starts a server of its own with small limits, so that rows move from the row store into segments all the time, and keeps forcing CHECKPOINT, and COMPACT TABLE
where the server knows it. Three parts, one after the other:

- **freshness**: each writer inserts, updates and deletes rows of its own, in transactions of one to three statements; after each acknowledgement *another* connection asks for
  count, sum, minimum and maximum of that writer's rows, by a scan over the whole table. The answer must be exactly what the writer knows. One such question is one check.
- **upserts**: writers upsert the same keys, which start absent, while scanners ask for `count(*)`, `count(DISTINCT k)` and the sum, twice under one snapshot. Every answer must have as
  many keys as rows, and the same twice; at the end the sum is the number of acknowledged upserts. With ON CONFLICT no upsert may fail; in the other form, UPDATE and if that
  found nothing INSERT, a duplicate key is tried again.
- **agreement**: the same aggregates with `colonnade.force_path` set to `row` and to `column`, at one snapshot. Left out, and said so, if the server refuses the setting.

Ends with code 0 and a summary, or with code 1 at the first wrong answer, keeping the data directory.
"""

import argparse
import os
import random
import shutil
import tempfile
import threading
import time

import psycopg

from server import Server, find_binary

SMALL = ["--tail-rows-max", "1024", "--flush-idle-ms", "10", "--flush-idle-rows-min", "1", "--checkpoint-wal-bytes", "1MiB", "--wal-file-bytes", "1MiB"]


class Wrong(Exception):
    """An answer that is not what it must be."""


class Worker(threading.Thread):
    """A thread that keeps its error for whoever joins it."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.error = work, None

    def run(self):
        try:
            self.work()
        except Exception as error:  # noqa: BLE001 - reported by `together`
            self.error = error


class Done:
    """Tells the load when the workers are done."""

    def __init__(self):
        self.event = threading.Event()

    def __bool__(self):
        return self.event.is_set()


def together(workers, load, done):
    """Runs the workers to their end and the load beside them; raises the first error."""
    threads, beside = [Worker(work) for work in workers], [Worker(work) for work in load]
    for thread in threads + beside:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not any(thread.error for thread in threads + beside):
        time.sleep(0.05)
    done.event.set()
    for thread in threads + beside:
        thread.join(60)
    for thread in threads + beside:
        if thread.error:
            raise thread.error


def connect(url):
    return psycopg.connect(url, autocommit=True)


def understands(url, sql):
    with connect(url) as connection:
        try:
            connection.execute(sql)
            return True
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.SyntaxError, psycopg.errors.InvalidParameterValue):
            return False


def maintenance(url, tables, done, counts):
    """Forces what a server does by itself only now and then."""
    commands = ["CHECKPOINT", *(f"COMPACT TABLE {table}" for table in tables if understands(url, f"COMPACT TABLE {table}"))]
    with connect(url) as connection:
        while not done:
            for command in commands:
                connection.execute(command)
                counts[command.split()[0]] = counts.get(command.split()[0], 0) + 1
            time.sleep(0.02)


def noise(url, done):
    """Rows that no check is about, so that scans and flushes have something to do."""
    with connect(url) as connection:
        number = 0
        while not done:
            connection.execute(f"INSERT INTO fresh SELECT -1, {number} + g, g FROM generate_series(1, 500) g")
            number += 500
            if number % 5000 == 0:
                connection.execute(f"DELETE FROM fresh WHERE writer = -1 AND id <= {number - 2500}")
            time.sleep(0.01)


def freshness(url, checks, writers, seed, counts):
    with connect(url) as connection:
        connection.execute("CREATE TABLE fresh (writer integer NOT NULL, id bigint NOT NULL, v bigint NOT NULL)")
    lock, left = threading.Lock(), [checks]

    def write(number):
        chance, rows, next_id = random.Random(seed * 1000 + number), {}, 0
        with connect(url) as writer, connect(url) as reader:
            while True:
                with lock:
                    if left[0] == 0:
                        return
                    left[0] -= 1
                statements = chance.randint(1, 3)
                if statements > 1:
                    writer.execute("BEGIN")
                for _ in range(statements):
                    form = chance.random()
                    if form < 0.6 or not rows:
                        v, batch = chance.randint(-1000, 1000), chance.randint(1, 3)
                        writer.execute("INSERT INTO fresh VALUES " + ", ".join(f"({number}, {next_id + i}, {v})" for i in range(batch)))
                        rows.update({next_id + i: v for i in range(batch)})
                        next_id += batch
                    elif form < 0.8:
                        key, v = chance.choice(list(rows)), chance.randint(-1000, 1000)
                        writer.execute(f"UPDATE fresh SET v = {v} WHERE writer = {number} AND id = {key}")
                        rows[key] = v
                    else:
                        victims = chance.sample(list(rows), min(len(rows), chance.choice([1, 2, 50])))
                        writer.execute(f"DELETE FROM fresh WHERE writer = {number} AND id IN ({', '.join(map(str, victims))})")
                        for key in victims:
                            del rows[key]
                if statements > 1:
                    writer.execute("COMMIT")
                values = rows.values()
                expected = (len(rows), sum(values) if rows else None, min(values, default=None), max(values, default=None))
                count, total, low, high = reader.execute(f"SELECT count(*), sum(v), min(v), max(v) FROM fresh WHERE writer = {number}").fetchone()
                found = (count, None if total is None else int(total), low, high)
                if found != expected:
                    raise Wrong(f"writer {number}: after its commit another connection finds {found}, it must be {expected}")

    done = Done()
    together([lambda n=n: write(n) for n in range(writers)], [lambda: maintenance(url, ["fresh"], done, counts), lambda: noise(url, done)], done)


def upserts(url, total, keys, writers, form, seed, counts):
    with connect(url) as connection:
        connection.execute("CREATE TABLE counter (k bigint PRIMARY KEY, n bigint NOT NULL)")
    done, retries, scans = Done(), [0] * writers, [0]

    def write(number):
        chance = random.Random(seed * 1000 + number)
        with connect(url) as connection:
            for _ in range(total // writers):
                key = chance.randrange(keys)
                if form == "on_conflict":
                    connection.execute(f"INSERT INTO counter VALUES ({key}, 1) ON CONFLICT (k) DO UPDATE SET n = counter.n + 1")
                    continue
                while connection.execute(f"UPDATE counter SET n = n + 1 WHERE k = {key}").rowcount == 0:
                    try:
                        connection.execute(f"INSERT INTO counter VALUES ({key}, 1)")
                        break
                    except psycopg.errors.UniqueViolation:
                        retries[number] += 1

    def scan():
        question = "SELECT count(*), count(DISTINCT k), sum(n) FROM counter"
        with connect(url) as connection:
            while not done:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                one, two = connection.execute(question).fetchone(), connection.execute(question).fetchone()
                connection.execute("COMMIT")
                if one[0] != one[1] or one != two:
                    raise Wrong(f"a snapshot of the upserted table shows {one} and then {two}: count(*), count(DISTINCT k), sum(n)")
                scans[0] += 1

    together([lambda n=n: write(n) for n in range(writers)], [scan, lambda: maintenance(url, ["counter"], done, counts)], done)
    with connect(url) as connection:
        count, distinct, sum_of_n = connection.execute("SELECT count(*), count(DISTINCT k), sum(n) FROM counter").fetchone()
    if count != distinct or int(sum_of_n) != total // writers * writers:
        raise Wrong(f"{total // writers * writers} upserts were acknowledged; the table counts {sum_of_n} on {count} rows with {distinct} keys")
    return scans[0], sum(retries)


AGGREGATES = [
    "SELECT count(*), sum(v), min(id), max(id) FROM fresh",
    "SELECT writer, count(*), sum(v) FROM fresh GROUP BY writer ORDER BY writer",
    "SELECT count(*), count(DISTINCT k), sum(n) FROM counter",
    "SELECT k % 7, count(*), max(n) FROM counter GROUP BY 1 ORDER BY 1",
    "SELECT * FROM counter WHERE k = {key}",
]


def agreement(url, agreements, readers, keys, seed, counts):
    done = Done()

    def read(number):
        chance = random.Random(seed * 1000 + number)
        with connect(url) as connection:
            for _ in range(agreements // readers):
                sql = chance.choice(AGGREGATES).format(key=chance.randrange(keys))
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                answers = {}
                for path in ("row", "column", "auto"):
                    connection.execute(f"SET LOCAL colonnade.force_path = '{path}'")
                    connection.execute("SAVEPOINT s")
                    try:
                        answers[path] = connection.execute(sql).fetchall()
                    except psycopg.errors.FeatureNotSupported:
                        counts[f"refused by {path}"] = counts.get(f"refused by {path}", 0) + 1
                        connection.execute("ROLLBACK TO s")
                connection.execute("COMMIT")
                if len({str(answer) for answer in answers.values()}) != 1:
                    raise Wrong(f"{sql}: {answers}")

    def write():
        chance = random.Random(seed)
        with connect(url) as connection:
            while not done:
                key = chance.randrange(keys)
                connection.execute(f"UPDATE counter SET n = n + 1 WHERE k = {key}")
                connection.execute(f"INSERT INTO fresh VALUES (-2, {key}, {key})")

    together([lambda n=n: read(n) for n in range(readers)], [write, lambda: maintenance(url, ["fresh", "counter"], done, counts)], done)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checks", type=int, default=2000, help="checks of freshness")
    parser.add_argument("--upserts", type=int, default=5000)
    parser.add_argument("--keys", type=int, default=10000, help="keys of the upserted table")
    parser.add_argument("--upsert-form", choices=["auto", "on_conflict", "update"], default="auto")
    parser.add_argument("--agreements", type=int, default=500, help="comparisons of force_path")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--binary", default=None, help="the server; any profile")
    parser.add_argument("--argument", action="append", default=[], help="another argument for the server; may be repeated")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    work = tempfile.mkdtemp(prefix="freshness-")
    server = Server(options.binary or find_binary(), os.path.join(work, "data"), os.path.join(work, "server.log"), [*SMALL, *options.argument])
    server.start()
    counts = {}
    try:
        begin = time.monotonic()
        freshness(server.url, options.checks, options.clients, options.seed, counts)
        print(f"freshness: {options.checks} checks by {options.clients} writers, 0 stale, {time.monotonic() - begin:.0f} s; {counts}", flush=True)
        counts.clear()
        form = options.upsert_form
        if form == "auto":
            with connect(server.url) as connection:
                connection.execute("CREATE TABLE probe (k integer PRIMARY KEY)")
            form = "on_conflict" if understands(server.url, "INSERT INTO probe VALUES (1) ON CONFLICT (k) DO NOTHING") else "update"
        begin = time.monotonic()
        scans, retries = upserts(server.url, options.upserts, options.keys, options.clients, form, options.seed, counts)
        print(f"upserts ({form}): {options.upserts} on {options.keys} keys by {options.clients} writers, {retries} duplicates tried again, "
              f"{scans} snapshots, each with as many keys as rows, {time.monotonic() - begin:.0f} s; {counts}", flush=True)
        counts.clear()
        if understands(server.url, "SET colonnade.force_path = 'row'"):
            begin = time.monotonic()
            agreement(server.url, options.agreements, options.clients, options.keys, options.seed, counts)
            print(f"agreement: {options.agreements} comparisons at one snapshot, 0 differences, {time.monotonic() - begin:.0f} s; {counts}", flush=True)
        else:
            print("agreement: left out, the server refuses colonnade.force_path", flush=True)
    except (Wrong, psycopg.Error, RuntimeError) as error:
        print(f"{type(error).__name__}: {error}; seed {options.seed}; data kept in {work}")
        raise SystemExit(1) from error
    finally:
        server.stop()
    shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
