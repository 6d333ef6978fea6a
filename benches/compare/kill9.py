#!/usr/bin/env python3
"""Kills the server in the middle of everything, again and again, and compares the whole database with a ledger of its own after each restart.

    kill9.py --cycles 500

Every cycle starts the server with other settings (sizes of log files, checkpoints, row stores, memory, threads), lets clients run transactions of many
kinds, and kills it at a random moment: while it works, during CHECKPOINT or COMPACT TABLE, again during recovery. A few cycles end with SIGTERM instead.

The ledger lives here, outside of the server. Each client owns its rows and tables, so that after each of its transactions the ledger knows exactly what
must be there; only the one statement that was under way when the server died, an autocommit or COMMIT, may have happened or not, and only whole. After each
restart the tables are read whole and by key:

- what was acknowledged is there, with its values; what was deleted or replaced is not;
- nothing is there of transactions that were rolled back, whole or to a savepoint, that failed, or whose COMMIT was never sent;
- tables and columns are as the acknowledged DDL left them;
- money that clients move between shared accounts is neither lost nor made.

Ends with code 0 and a summary, or with code 1 at the first violation, keeping the data directory for inspection. The seed decides what is done and with
which settings; the moment of a kill also depends on the machine.
"""

import argparse
import collections
import os
import random
import shutil
import tempfile
import threading
import time

import psycopg

from server import Server, find_binary

ACCOUNTS = 20
START_BALANCE = 1000
IDS = 300  # keys of one client
EVENTS_MAX = 40  # transactions of one client in `event`
SIDE_TABLES_MAX = 3
SCHEMA = f"""
    CREATE TABLE item (id bigint PRIMARY KEY, v bigint NOT NULL, note text);
    CREATE TABLE event (tx bigint NOT NULL, i integer NOT NULL, v bigint NOT NULL);
    CREATE TABLE account (id integer PRIMARY KEY, balance bigint NOT NULL);
    INSERT INTO account SELECT g, {START_BALANCE} FROM generate_series(0, {ACCOUNTS - 1}) g
"""


def random_settings(chance):
    """Arguments of one start. What docs/configuration.md allows, with a liking for the small end, where everything happens often."""
    kib, mib = 1 << 10, 1 << 20

    def size(low, high):
        return int(low * (high / low) ** chance.random())

    settings = {
        "wal-file-bytes": size(64 * kib, 8 * mib),
        "checkpoint-wal-bytes": size(64 * kib, 32 * mib),
        "tail-rows-max": size(1024, 131072),
        "tail-bytes-max": size(64 * kib, 32 * mib),
        "flush-idle-ms": chance.choice([0, 10, 100, 1000, 5000]),
        "flush-idle-rows-min": size(1, 8192),
        "bulk-segment-rows": size(8192, 1 << 20),
        "bulk-segment-bytes": size(mib, 256 * mib),
        "dictionary-cache-bytes": chance.choice([0, 64 * kib, 16 * mib, 256 * mib]),
        "query-memory-bytes": size(64 * mib, 512 * mib),
        "threads": chance.randint(1, 4),
    }
    return [word for name, value in settings.items() for word in (f"--{name}", str(value))]


class Delta:
    """What one transaction changes, as the ledger keeps it."""

    def __init__(self):
        self.items, self.events, self.sides = {}, {}, {}

    def copy(self):
        other = Delta()
        other.items, other.events, other.sides = dict(self.items), dict(self.events), dict(self.sides)
        return other


class State:
    """What one client's rows and tables must be."""

    def __init__(self):
        self.items = {}  # id -> (v, note)
        self.events = {}  # tx -> rows; row i holds v = tx * 31 + i
        self.sides = {}  # name -> (columns, sorted rows)

    def applied(self, delta):
        after = State()
        for name in ("items", "events", "sides"):
            content = dict(getattr(self, name))
            for key, value in getattr(delta, name).items():
                if value is None:
                    content.pop(key, None)
                else:
                    content[key] = value
            setattr(after, name, content)
        return after

    def difference(self, found):
        """Where `found` is not this; None if nowhere."""
        for name in ("items", "events", "sides"):
            own, other = getattr(self, name), getattr(found, name)
            if own != other:
                lost = [key for key in own if key not in other]
                extra = [key for key in other if key not in own]
                changed = [(key, own[key], other[key]) for key in own if key in other and own[key] != other[key]]
                return f"{name}: {len(lost)} lost {lost[:3]}, {len(extra)} too many {extra[:3]}, {len(changed)} changed {changed[:3]}"
        return None


class Died(Exception):
    """The server is gone, as planned."""


class Client(threading.Thread):
    """Runs transactions until the server dies, and keeps its part of the ledger."""

    def __init__(self, url, number, state, seed, next_tx, features, stopping):
        super().__init__(daemon=True)
        self.url, self.number, self.state, self.features, self.stopping = url, number, state, features, stopping
        self.random = random.Random(seed)
        self.next_tx = next_tx
        self.uncertain = None
        self.counts = collections.Counter()
        self.error = None

    def run(self):
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as self.connection:
                while True:
                    self.transaction()
        except (Died, psycopg.OperationalError) as error:
            # No SQLSTATE: the connection is gone. 57Pxx: the server says that it is going.
            state = getattr(error, "sqlstate", None)
            if not isinstance(error, Died) and state and not (self.stopping.is_set() and state.startswith("57P")):
                self.error = error
        except Exception as error:  # noqa: BLE001 - reported by the driver
            self.error = error

    # --- what a transaction consists of -------------------------------------------------------------------------------------------

    def execute(self, sql):
        return self.connection.execute(sql)

    def free_id(self, view):
        for _ in range(20):
            identity = self.number * IDS + self.random.randrange(IDS)
            if identity not in view.items:
                return identity
        return None

    def note(self):
        return self.random.choice(["", "a", "b" * 30, "ünï" * 5, "c" * self.random.randint(0, 400)])

    def change_items(self, delta):
        """One statement on `item`, and the same in `delta`."""
        view = self.state.applied(delta)
        form = self.random.random()
        value, note = self.random.randint(-10**9, 10**9), self.note()
        own = list(view.items)
        if form < 0.45 or not own:
            rows = {}
            for _ in range(self.random.randint(1, 8)):
                identity = self.free_id(view)
                if identity is not None:
                    rows[identity] = (value + identity, note)
            if rows:
                self.execute("INSERT INTO item VALUES " + ", ".join(f"({k}, {v}, '{n}')" for k, (v, n) in rows.items()))
                delta.items.update(rows)
        elif form < 0.6:
            identity = self.random.choice(own)
            self.count(1, self.execute(f"UPDATE item SET v = {value}, note = '{note}' WHERE id = {identity}"))
            delta.items[identity] = (value, note)
        elif form < 0.7:
            low = self.number * IDS + self.random.randrange(IDS)
            high = min(low + self.random.randint(1, 60), (self.number + 1) * IDS)
            hit = [k for k in own if low <= k < high]
            self.count(len(hit), self.execute(f"UPDATE item SET v = v + 1 WHERE id >= {low} AND id < {high}"))
            delta.items.update({k: (view.items[k][0] + 1, view.items[k][1]) for k in hit})
        elif form < 0.85:
            hit = self.random.sample(own, min(len(own), self.random.randint(1, 20)))
            self.count(len(hit), self.execute(f"DELETE FROM item WHERE id IN ({', '.join(map(str, hit))})"))
            delta.items.update(dict.fromkeys(hit))
        else:
            identity = self.number * IDS + self.random.randrange(IDS)
            if "on_conflict" in self.features:
                self.execute(f"INSERT INTO item VALUES ({identity}, {value}, '{note}') ON CONFLICT (id) DO UPDATE SET v = excluded.v, note = excluded.note")
            elif self.execute(f"UPDATE item SET v = {value}, note = '{note}' WHERE id = {identity}").rowcount == 0:
                self.execute(f"INSERT INTO item VALUES ({identity}, {value}, '{note}')")
            delta.items[identity] = (value, note)

    def count(self, expected, cursor):
        if cursor.rowcount != expected:
            raise AssertionError(f"a statement found {cursor.rowcount} rows of client {self.number}, the ledger says {expected}")

    def change_events(self, delta, copy):
        view = self.state.applied(delta)
        if len(view.events) >= EVENTS_MAX or (view.events and self.random.random() < 0.2):
            victims = self.random.sample(list(view.events), min(len(view.events), 5))
            self.count(sum(view.events[tx] for tx in victims), self.execute(f"DELETE FROM event WHERE tx IN ({', '.join(map(str, victims))})"))
            delta.events.update(dict.fromkeys(victims))
            return
        tx = self.number * 10**9 + self.next_tx
        self.next_tx += 1
        if copy:
            rows = self.random.choice([5, 50, 500, 3000])
            with self.connection.cursor() as cursor, cursor.copy("COPY event FROM STDIN") as stream:
                for i in range(rows):
                    stream.write_row((tx, i, tx * 31 + i))
        else:
            rows = self.random.randint(1, 200)
            self.execute(f"INSERT INTO event SELECT {tx}, g, {tx * 31} + g FROM generate_series(0, {rows - 1}) g")
        delta.events[tx] = rows

    def move_money(self):
        # In the order of their numbers, so that waiting never becomes a deadlock.
        a, b = sorted(self.random.sample(range(ACCOUNTS), 2))
        amount = self.random.randint(-5, 5)
        self.execute(f"UPDATE account SET balance = balance - {amount} WHERE id = {a}")
        self.execute(f"UPDATE account SET balance = balance + {amount} WHERE id = {b}")

    def change_tables(self, delta):
        """One DDL statement, or a few, on tables that are this client's alone."""
        view = self.state.applied(delta)
        names = list(view.sides)
        form = self.random.random()
        if not names or (len(names) < SIDE_TABLES_MAX and form < 0.3):
            name = f"side_{self.number}_{self.next_tx}"
            self.next_tx += 1
            self.execute(f"CREATE TABLE {name} (x integer, y text DEFAULT 'd')")
            rows = self.random.randint(0, 30)
            if rows:
                self.execute(f"INSERT INTO {name} (x) SELECT g FROM generate_series(1, {rows}) g")
            delta.sides[name] = (("x", "y"), tuple((x, "d") for x in range(1, rows + 1)))
            return
        name = self.random.choice(names)
        columns, rows = view.sides[name]
        if form < 0.5:
            self.execute(f"DROP TABLE {name}")
            delta.sides[name] = None
        elif form < 0.6:
            self.execute(f"TRUNCATE {name}")
            delta.sides[name] = (columns, ())
        elif form < 0.8:
            column = f"c{self.next_tx}"
            self.next_tx += 1
            self.execute(f"ALTER TABLE {name} ADD COLUMN {column} integer DEFAULT 7")
            delta.sides[name] = (columns + (column,), tuple(row + (7,) for row in rows))
        else:
            other = f"side_{self.number}_{self.next_tx}"
            self.next_tx += 1
            self.execute(f"ALTER TABLE {name} RENAME TO {other}")
            delta.sides[name], delta.sides[other] = None, (columns, rows)

    def work(self, delta):
        form = self.random.random()
        if form < 0.6:
            self.change_items(delta)
        elif form < 0.8:
            self.change_events(delta, copy=self.random.random() < 0.5)
        elif form < 0.88:
            self.change_tables(delta)
        else:
            self.move_money()

    # --- how it ends --------------------------------------------------------------------------------------------------------------

    def acknowledged(self, delta):
        self.state = self.state.applied(delta)
        self.uncertain = None
        self.counts["acknowledged"] += 1

    def transaction(self):
        delta = Delta()
        form = self.random.random()
        if form < 0.3:  # one statement by itself: from when it is sent it may happen
            self.autocommit(delta)
            return
        level = self.random.choice(["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ"])
        self.execute(f"BEGIN ISOLATION LEVEL {level}")
        try:
            for _ in range(self.random.randint(1, 6)):
                if self.random.random() < 0.2:
                    self.behind_savepoint(delta)
                else:
                    self.work(delta)
        except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            # Only the shared accounts can come to this.
            self.execute("ROLLBACK")
            self.counts["rolled back"] += 1
            return
        if form < 0.45:
            self.execute("ROLLBACK")
            self.counts["rolled back"] += 1
        elif form < 0.5:
            try:
                self.execute("SELECT 1 / 0")
            except psycopg.errors.DivisionByZero:
                pass
            if self.execute("COMMIT").statusmessage != "ROLLBACK":
                raise AssertionError("COMMIT of a failed transaction did not roll back")
            self.counts["rolled back"] += 1
        else:
            self.uncertain = delta
            self.execute("COMMIT")
            self.acknowledged(delta)

    def autocommit(self, delta):
        # The statement fills in the delta after its answer; so what it would have done is learned from the attempt.
        attempt = Recorder(self)
        attempt.choose(delta)
        self.uncertain = delta
        attempt.send()
        self.acknowledged(delta)

    def behind_savepoint(self, delta):
        self.execute("SAVEPOINT s")
        inner = delta.copy()
        self.work(inner)
        if self.random.random() < 0.5:
            self.execute("ROLLBACK TO s")
            self.counts["rolled back to a savepoint"] += 1
        else:
            if self.random.random() < 0.5:
                self.execute("RELEASE s")
            delta.items, delta.events, delta.sides = inner.items, inner.events, inner.sides


class Recorder:
    """One statement outside of a transaction block, chosen before it is sent."""

    def __init__(self, client):
        self.client, self.sql, self.copy_rows = client, None, None

    def choose(self, delta):
        client = self.client
        form = client.random.random()
        own = list(client.state.items)
        value, note = client.random.randint(-10**9, 10**9), client.note()
        if form < 0.3 or not own:
            rows = {}
            for _ in range(client.random.randint(1, 8)):
                identity = client.free_id(client.state)
                if identity is not None:
                    rows[identity] = (value, note)
            if rows:
                self.sql = "INSERT INTO item VALUES " + ", ".join(f"({k}, {v}, '{n}')" for k, (v, n) in rows.items())
                delta.items.update(rows)
        elif form < 0.5:
            identity = client.random.choice(own)
            self.sql = f"UPDATE item SET v = {value}, note = '{note}' WHERE id = {identity}"
            delta.items[identity] = (value, note)
        elif form < 0.65:
            hit = client.random.sample(own, min(len(own), 20))
            self.sql = f"DELETE FROM item WHERE id IN ({', '.join(map(str, hit))})"
            delta.items.update(dict.fromkeys(hit))
        elif form < 0.75 and "on_conflict" in client.features:
            identity = client.number * IDS + client.random.randrange(IDS)
            self.sql = f"INSERT INTO item VALUES ({identity}, {value}, '{note}') ON CONFLICT (id) DO UPDATE SET v = excluded.v, note = excluded.note"
            delta.items[identity] = (value, note)
        elif len(client.state.events) < EVENTS_MAX:
            tx = client.number * 10**9 + client.next_tx
            client.next_tx += 1
            self.copy_rows = (tx, client.random.choice([5, 500, 3000]))
            delta.events[tx] = self.copy_rows[1]

    def send(self):
        if self.sql:
            self.client.execute(self.sql)
        elif self.copy_rows:
            tx, rows = self.copy_rows
            with self.client.connection.cursor() as cursor, cursor.copy("COPY event FROM STDIN") as stream:
                for i in range(rows):
                    stream.write_row((tx, i, tx * 31 + i))


class Maintenance(threading.Thread):
    """Runs CHECKPOINT and COMPACT TABLE all the time; `inside` is set while one is under way."""

    def __init__(self, url, seed, features):
        super().__init__(daemon=True)
        self.url, self.random = url, random.Random(seed)
        self.commands = [command for command in ("CHECKPOINT", "VACUUM", "COMPACT TABLE item", "COMPACT TABLE event") if command in features]
        self.inside = threading.Event()
        self.error = None
        self.done = 0

    def run(self):
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
                while True:
                    time.sleep(self.random.uniform(0, 0.2))
                    self.inside.set()
                    connection.execute(self.random.choice(self.commands))
                    self.inside.clear()
                    self.done += 1
        except psycopg.OperationalError as error:
            if error.sqlstate and not error.sqlstate.startswith("57P"):
                self.error = error
        except Exception as error:  # noqa: BLE001 - reported by the driver
            self.error = error


def probe(url):
    """What this server understands."""
    features = set()
    attempts = {
        "on_conflict": "INSERT INTO item VALUES (-1, 0, '') ON CONFLICT (id) DO UPDATE SET v = excluded.v",
        "CHECKPOINT": "CHECKPOINT",
        "VACUUM": "VACUUM",
        "COMPACT TABLE item": "COMPACT TABLE item",
        "COMPACT TABLE event": "COMPACT TABLE event",
    }
    with psycopg.connect(url, autocommit=True) as connection:
        for name, sql in attempts.items():
            try:
                connection.execute(sql)
                features.add(name)
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.SyntaxError):
                pass
        connection.execute("DELETE FROM item")
    return features


def read_all(connection, clients):
    """The whole database, as one state for each client, or a string that says what is wrong whoever it belongs to."""
    states = [State() for _ in range(clients)]
    rows = connection.execute("SELECT id, v, note FROM item").fetchall()
    for identity, v, note in rows:
        if identity in states[identity // IDS].items:
            return f"item {identity} is there twice"
        states[identity // IDS].items[identity] = (v, note)
    for sample in random.Random(len(rows)).sample(rows, min(len(rows), 20)):
        by_key = connection.execute("SELECT id, v, note FROM item WHERE id = %s", (sample[0],)).fetchall()
        if by_key != [sample]:
            return f"item {sample[0]} is {sample} in a scan and {by_key} by key"
    counted = connection.execute("SELECT count(*), count(DISTINCT id) FROM item").fetchone()
    if counted != (len(rows), len(rows)):
        return f"item: {counted} by aggregates, {len(rows)} rows"
    events = connection.execute("SELECT tx, count(*), count(DISTINCT i), min(i), max(i), sum(CASE WHEN v = tx * 31 + i THEN 0 ELSE 1 END) FROM event GROUP BY tx")
    for tx, count, distinct, low, high, wrong in events.fetchall():
        if (distinct, low, high, int(wrong)) != (count, 0, count - 1, 0):
            return f"event {tx} is there in part or changed: {count} rows, {distinct} distinct, {low}..{high}, {wrong} wrong values"
        states[tx // 10**9].events[tx] = count
    for (name,) in connection.execute("SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'side%'").fetchall():
        cursor = connection.execute(f"SELECT * FROM {name} ORDER BY x")
        columns = tuple(column.name for column in cursor.description)
        states[int(name.split("_")[1])].sides[name] = (columns, tuple(cursor.fetchall()))
    balance = connection.execute("SELECT count(*), sum(balance) FROM account").fetchone()
    if (balance[0], int(balance[1])) != (ACCOUNTS, ACCOUNTS * START_BALANCE):
        return f"{balance[0]} accounts hold {balance[1]}, expected {ACCOUNTS} and {ACCOUNTS * START_BALANCE}"
    return states


def verify(url, states, uncertain, counts):
    """Compares; returns what is wrong or None. What was uncertain is decided by what is found."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = read_all(connection, len(states))
    if isinstance(found, str):
        return found
    for number, (state, delta, now) in enumerate(zip(states, uncertain, found)):
        problem = state.difference(now)
        if problem and delta is not None:
            counts["unknown, and had happened"] += state.applied(delta).difference(now) is None
            problem = problem and state.applied(delta).difference(now) and f"{problem}; with the statement that was under way: {state.applied(delta).difference(now)}"
        if problem:
            return f"client {number}: {problem}"
        counts["unknown"] += delta is not None
        states[number] = now
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.5, help="longest time between start and kill")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--binary", default=None, help="the server; any profile")
    parser.add_argument("--argument", action="append", default=[], help="another argument for every start; may be repeated, and wins over a random one")
    parser.add_argument("--work", default=None)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    work = options.work or tempfile.mkdtemp(prefix="kill9-")
    os.makedirs(work, exist_ok=True)
    server = Server(options.binary or find_binary(), os.path.join(work, "data"), os.path.join(work, "server.log"), options.argument)

    def fail(cycle, problem):
        if server.process and server.process.poll() is None:
            server.kill()
        print(f"cycle {cycle}: {problem}; settings {' '.join(server.arguments)}; seed {options.seed}; data kept in {work}")
        raise SystemExit(1)

    def start(cycle):
        server.arguments = random_settings(chance) + options.argument
        try:
            return server.start()
        except (RuntimeError, psycopg.OperationalError) as error:
            return fail(cycle, f"the store does not open: {error}")

    starts = [start(0)]
    with psycopg.connect(server.url, autocommit=True) as connection:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
    features = probe(server.url)
    print(f"the server understands {', '.join(sorted(features))}", flush=True)
    counts = collections.Counter()
    states, next_tx = [State() for _ in range(options.clients)], [0] * options.clients
    for cycle in range(1, options.cycles + 1):
        stopping = threading.Event()
        clients = [Client(server.url, n, states[n], chance.random(), next_tx[n], features, stopping) for n in range(options.clients)]
        maintenance = Maintenance(server.url, chance.random(), features)
        for thread in [*clients, maintenance]:
            thread.start()
        time.sleep(chance.uniform(0.02, options.seconds))
        way = chance.random()
        if way < 0.05:
            counts["clean stops"] += 1
            stopping.set()
            code = server.stop()
            if code != 0:
                fail(cycle, f"the server ended with code {code} on SIGTERM")
        else:
            if way < 0.3:
                maintenance.inside.wait(1)
                time.sleep(chance.uniform(0, 0.02))
                counts["kills during maintenance"] += maintenance.inside.is_set()
            counts["kills"] += 1
            server.kill()
        for thread in [*clients, maintenance]:
            thread.join(60)
            if thread.is_alive():
                fail(cycle, "a client hangs although the server is gone")
            if thread.error:
                fail(cycle, f"a client failed before the kill: {type(thread.error).__name__}: {thread.error}")
        for number, client in enumerate(clients):
            states[number], next_tx[number] = client.state, client.next_tx
            counts.update(client.counts)
        counts["maintenance"] += maintenance.done
        while chance.random() < 0.25:  # die once more, during recovery, and perhaps again
            counts["kills during recovery"] += 1
            server.arguments = random_settings(chance) + options.argument
            server.spawn()
            time.sleep(chance.uniform(0, 1.2) * sorted(starts)[len(starts) // 2])
            if server.process.poll() not in (None, 0):
                fail(cycle, f"the store does not open: code {server.process.returncode}; see {server.log_path}")
            server.kill()
        starts.append(start(cycle))
        problem = verify(server.url, states, [client.uncertain for client in clients], counts)
        if problem:
            fail(cycle, problem)
        print(f"cycle {cycle}: {counts['acknowledged']} acknowledged, {counts['rolled back']} rolled back, start {starts[-1] * 1000:.0f} ms", flush=True)
    code = server.stop()
    if code != 0:
        fail("last", f"the server ended with code {code} on SIGTERM")
    starts.append(start("last"))
    problem = verify(server.url, states, [None] * len(states), counts)
    if problem:
        fail("last", f"after a clean stop: {problem}")
    server.stop()
    if options.work is None:
        shutil.rmtree(work, ignore_errors=True)
    median = sorted(starts)[len(starts) // 2]
    print(f"{options.cycles} cycles: {counts['kills']} kills ({counts['kills during maintenance']} during CHECKPOINT or COMPACT TABLE), {counts['kills during recovery']} more during recovery, "
          f"{counts['clean stops']} clean stops; {counts['acknowledged']} transactions acknowledged, 0 lost; {counts['rolled back']} rolled back "
          f"and {counts['rolled back to a savepoint']} to a savepoint, 0 resurrected; {counts['unknown']} unknown, of which {counts['unknown, and had happened']} had happened, whole; "
          f"{len(starts) + counts['kills during recovery']} starts, 0 that did not open, median {median * 1000:.0f} ms, greatest {max(starts) * 1000:.0f} ms; seed {options.seed}")


if __name__ == "__main__":
    main()
