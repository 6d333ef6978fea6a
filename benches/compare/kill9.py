#!/usr/bin/env python3
"""Kills the server during concurrent inserts, again and again, and checks what it finds after each restart.

    kill9.py --cycles 50

Several clients insert transactions of K rows each. A transaction enters the ledger when COMMIT was acknowledged; what was under way
when the server died may be there or not, but only whole. After each restart:

- every transaction of the ledger is there, with all its K rows and their values;
- no transaction is there in part;
- nothing is there that was never sent, and nothing twice;
- an UPDATE that moves money between two accounts in the same transactions leaves the sum unchanged.

Ends with code 0 and a summary, or with code 1 at the first violation, keeping the data directory for inspection.
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

ACCOUNTS = 20
START_BALANCE = 1000


class Client(threading.Thread):
    """Inserts transactions until the server dies, and keeps the ledger."""

    def __init__(self, url, number, rows, seed, first):
        super().__init__(daemon=True)
        self.url, self.number, self.rows = url, number, rows
        self.random = random.Random(seed)
        self.next = first
        self.acknowledged, self.uncertain = [], []
        self.error = None

    def run(self):
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
                while True:
                    self.transaction(connection)
        except psycopg.OperationalError:
            pass  # the server is gone, as planned
        except Exception as error:  # noqa: BLE001 - reported by the driver
            self.error = error

    def transaction(self, connection):
        identity = self.number * 1_000_000_000 + self.next
        self.next += 1
        self.uncertain = [identity]
        form = self.random.random()
        values = ", ".join(f"({identity}, {i}, {identity * 31 + i}, 'client {self.number} row {i}')" for i in range(self.rows))
        if form < 0.4:
            connection.execute(f"INSERT INTO ledger VALUES {values}")
        elif form < 0.8:
            connection.execute("BEGIN")
            for i in range(self.rows):
                connection.execute("INSERT INTO ledger VALUES (%s, %s, %s, %s)",
                                   (identity, i, identity * 31 + i, f"client {self.number} row {i}"))
            # Its own two accounts: no client waits for another.
            a, b = self.number * 2 % ACCOUNTS, (self.number * 2 + 1) % ACCOUNTS
            amount = self.random.randint(-5, 5)
            connection.execute(f"UPDATE account SET balance = balance - {amount} WHERE id = {a}")
            connection.execute(f"UPDATE account SET balance = balance + {amount} WHERE id = {b}")
            connection.execute("COMMIT")
        elif form < 0.9:
            connection.execute("BEGIN")
            connection.execute(f"INSERT INTO ledger VALUES {values}")
            connection.execute("ROLLBACK")
            self.uncertain = []
            return
        else:
            with connection.cursor() as cursor, cursor.copy("COPY ledger FROM STDIN") as copy:
                for i in range(self.rows):
                    copy.write_row((identity, i, identity * 31 + i, f"client {self.number} row {i}"))
        self.acknowledged.append(identity)
        self.uncertain = []


def verify(url, rows, acknowledged, uncertain):
    """Returns what is wrong, or None, and the set of transactions found."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT tx, count(*), count(DISTINCT i), min(i), max(i), sum(CASE WHEN v = tx * 31 + i THEN 0 ELSE 1 END) FROM ledger GROUP BY tx").fetchall()
        balance = connection.execute("SELECT count(*), sum(balance) FROM account").fetchone()
        total = connection.execute("SELECT count(*) FROM ledger").fetchone()[0]
    present = set()
    for tx, count, distinct, low, high, wrong in found:
        if (count, distinct, low, high, int(wrong)) != (rows, rows, 0, rows - 1, 0):
            return f"transaction {tx} is there in part or changed: {count} rows, {distinct} distinct, {low}..{high}, {wrong} wrong values", present
        present.add(tx)
    missing = acknowledged - present
    if missing:
        return f"{len(missing)} acknowledged transactions are gone, such as {sorted(missing)[:5]}", present
    strangers = present - acknowledged - uncertain
    if strangers:
        return f"{len(strangers)} transactions that were never committed are there, such as {sorted(strangers)[:5]}", present
    if total != rows * len(present):
        return f"{total} rows by count(*), {rows * len(present)} by groups", present
    if balance[0] != ACCOUNTS or int(balance[1]) != ACCOUNTS * START_BALANCE:
        return f"{balance[0]} accounts hold {balance[1]}, expected {ACCOUNTS} and {ACCOUNTS * START_BALANCE}", present
    return None, present


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rows", type=int, default=5, help="rows of one transaction")
    parser.add_argument("--seconds", type=float, default=1.5, help="longest time between start and kill")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--binary", default=None)
    parser.add_argument("--argument", action="append", default=[], help="another argument for the server; may be repeated")
    parser.add_argument("--work", default=None)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    chance = random.Random(options.seed)
    work = options.work or tempfile.mkdtemp(prefix="kill9-")
    os.makedirs(work, exist_ok=True)
    server = Server(options.binary or find_binary(), os.path.join(work, "data"), os.path.join(work, "server.log"), options.argument)
    server.start()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE ledger (tx bigint NOT NULL, i integer NOT NULL, v bigint NOT NULL, note text)")
        connection.execute("CREATE TABLE account (id integer, balance bigint)")
        connection.execute(f"INSERT INTO account SELECT g, {START_BALANCE} FROM generate_series(0, {ACCOUNTS - 1}) g")
    acknowledged, uncertain, starts, first, during_recovery = set(), set(), [], 0, 0
    for cycle in range(1, options.cycles + 1):
        clients = [Client(server.url, n, options.rows, chance.random(), first) for n in range(options.clients)]
        for client in clients:
            client.start()
        time.sleep(chance.uniform(0.05, options.seconds))
        server.kill()
        for client in clients:
            client.join(30)
            if client.error:
                print(f"cycle {cycle}: a client failed before the kill: {client.error}; data kept in {work}")
                raise SystemExit(1)
            acknowledged.update(client.acknowledged)
            uncertain.update(client.uncertain)
            first = max(first, client.next)
        if chance.random() < 0.2:  # die once more, during recovery
            during_recovery += 1
            threading.Timer(chance.uniform(0.0, 0.15), lambda: server.process and server.process.kill()).start()
            try:
                server.start()
            except RuntimeError:
                pass
            except psycopg.OperationalError:
                pass
            time.sleep(0.2)
            server.kill()
        starts.append(server.start())
        problem, present = verify(server.url, options.rows, acknowledged, uncertain)
        if problem:
            print(f"cycle {cycle}: {problem}; data kept in {work}")
            raise SystemExit(1)
        # What is there now was decided by this recovery and must stay.
        acknowledged |= present
        uncertain.clear()
        print(f"cycle {cycle}: {len(acknowledged)} transactions, start {starts[-1] * 1000:.0f} ms", flush=True)
    code = server.stop()
    if code != 0:
        print(f"the server ended with code {code} on SIGTERM; data kept in {work}")
        raise SystemExit(1)
    starts.append(server.start())
    problem, _ = verify(server.url, options.rows, acknowledged, uncertain)
    server.stop()
    if problem:
        print(f"after a clean stop: {problem}; data kept in {work}")
        raise SystemExit(1)
    if options.work is None:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{options.cycles} kills ({during_recovery} more during recovery), {len(acknowledged)} transactions of {options.rows} rows: all there, all whole; "
          f"start-up median {sorted(starts)[len(starts) // 2] * 1000:.0f} ms, greatest {max(starts) * 1000:.0f} ms; seed {options.seed}")


if __name__ == "__main__":
    main()
