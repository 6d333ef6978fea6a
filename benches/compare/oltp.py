#!/usr/bin/env python3
"""Runs pgbench against Colonnade and PostgreSQL in turn, and prints the medians and their ratios.

    oltp.py --scale 10 --seconds 30 --rounds 3                     # the table
    oltp.py --only tpcb-prepared-8 select-prepared-1 --engines colonnade --seconds 10
    oltp.py --segments                                             # select-only with all accounts in segments
    oltp.py --scans 2                                              # TPC-B alone, and beside full-scan aggregates over 10 million rows

Both servers run on loopback over TCP, with a data directory each on the same disk, one at a time: an engine's round is started, measured and stopped before the other's
begins. After each run the balances must agree, and no transaction may have failed. PostgreSQL runs with its own defaults (durable commits), as the user `--postgres-user` if this
runs as root, which PostgreSQL refuses.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

from server import Server, find_binary, free_port

KINDS = {"tpcb": [], "simple-update": ["-N"], "select": ["-S"]}
TABLE = [
    ("tpcb", "prepared", 1), ("tpcb", "prepared", 8), ("tpcb", "prepared", 32), ("tpcb", "simple", 8), ("tpcb", "extended", 8),
    ("simple-update", "prepared", 8), ("simple-update", "prepared", 32),
    ("select", "simple", 8), ("select", "extended", 8), ("select", "prepared", 8), ("select", "prepared", 1),
]
SEGMENTS = [("select", "prepared", 8), ("select", "simple", 8), ("select", "prepared", 1)]
BALANCES = """
SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
       (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches)
"""


class Colonnade:
    name = "colonnade"

    def __init__(self, options, directory):
        self.server = Server(options.binary or find_binary(), os.path.join(directory, "colonnade"), os.path.join(directory, "colonnade.log"),
                             options.server_arguments)
        self.url, self.port, self.user, self.database = self.server.url, self.server.port, "colonnade", "colonnade"

    def start(self):
        self.server.start()

    def stop(self):
        self.server.stop()

    def to_segments(self, connection):
        connection.execute("CHECKPOINT")
        connection.execute("COMPACT TABLE pgbench_accounts")


class PostgreSql:
    name = "postgresql"

    def __init__(self, options, directory):
        self.bin, self.port, self.user, self.database = options.postgres_bin, free_port(), "postgres", "postgres"
        self.url = f"postgresql://{self.user}@127.0.0.1:{self.port}/{self.database}"
        self.directory = os.path.join(directory, "postgresql")
        os.mkdir(self.directory)
        self.as_user = ["runuser", "-u", options.postgres_user, "--"] if os.geteuid() == 0 else []
        if self.as_user:
            shutil.chown(self.directory, options.postgres_user)
        self.data = os.path.join(self.directory, "data")
        self.call("initdb", "-D", self.data, "-U", self.user, "-A", "trust")

    def call(self, program, *arguments):
        subprocess.run([*self.as_user, os.path.join(self.bin, program), *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/")

    def start(self):
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self.directory}"
        self.call("pg_ctl", "-w", "-D", self.data, "-l", os.path.join(self.directory, "log"), "-o", options, "start")

    def stop(self):
        self.call("pg_ctl", "-w", "-D", self.data, "-m", "fast", "stop")

    def to_segments(self, connection):
        connection.execute("VACUUM FULL ANALYZE pgbench_accounts")


class Scans:
    """Sessions that aggregate over a whole table without a pause."""

    STATEMENT = "SELECT k, count(*), sum(a), min(b), max(b), avg(c) FROM scanned WHERE b <> 17 GROUP BY k"

    def __init__(self, url, sessions):
        self.done, self.counts = threading.Event(), [0] * sessions
        self.threads = [threading.Thread(target=self.run, args=(url, place), daemon=True) for place in range(sessions)]

    @staticmethod
    def prepare(connection, rows):
        connection.execute("CREATE TABLE scanned (k int, a bigint, b int, c double precision)")
        connection.execute(f"INSERT INTO scanned SELECT i % 100, i, (i * 7919) % 1000, i / 3.0 FROM generate_series(1, {rows}) AS g(i)")
        connection.execute("CHECKPOINT")

    def run(self, url, place):
        with psycopg.connect(url, autocommit=True) as connection:
            while not self.done.is_set():
                connection.execute(self.STATEMENT).fetchall()
                self.counts[place] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join(60)


def percentile(directory, share):
    """Of the latencies in pgbench's logs, in milliseconds."""
    latencies = []
    for name in os.listdir(directory):
        if name.startswith("pgbench_log"):
            with open(os.path.join(directory, name)) as log:
                latencies += [int(line.split()[2]) for line in log if len(line.split()) > 2]
            os.unlink(os.path.join(directory, name))
    latencies.sort()
    return latencies[min(len(latencies) - 1, int(len(latencies) * share))] / 1000 if latencies else None


def pgbench(engine, options, directory, mode, latencies=False):
    kind, protocol, clients = mode
    command = [os.path.join(options.postgres_bin, "pgbench"), "-h", "127.0.0.1", "-p", str(engine.port), "-U", engine.user, "-n", *KINDS[kind],
               "-M", protocol, "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(options.seconds), *(["-l"] if latencies else []), engine.database]
    run = subprocess.run(command, capture_output=True, text=True, cwd=directory)
    failed = re.search(r"number of failed transactions: (\d+)", run.stdout)
    tps = re.search(r"tps = ([\d.]+)", run.stdout)
    if run.returncode or not tps or (failed and failed.group(1) != "0"):
        raise SystemExit(f"{engine.name} {mode}: {run.stdout}{run.stderr}")
    with psycopg.connect(engine.url, autocommit=True) as connection:
        if kind == "tpcb" and connection.execute(BALANCES).fetchone() != (True, True):
            raise SystemExit(f"{engine.name} {mode}: the balances do not agree")
    return float(tps.group(1)), percentile(directory, 0.99) if latencies else None


def label(mode):
    return "{}-{}-{}".format(*mode)


def load(engine, options):
    subprocess.run([os.path.join(options.postgres_bin, "pgbench"), "-h", "127.0.0.1", "-p", str(engine.port), "-U", engine.user, "-i", "-q",
                    "-s", str(options.scale), engine.database], check=True, capture_output=True)


def table(engines, modes, options, directory):
    results = {}
    for turn in range(options.rounds):
        for engine in engines:
            engine.start()
            try:
                with psycopg.connect(engine.url, autocommit=True) as connection:
                    if turn == 0:
                        load(engine, options)
                    if options.segments:
                        engine.to_segments(connection)
                for mode in modes:
                    tps, _ = pgbench(engine, options, directory, mode)
                    results.setdefault(label(mode), {}).setdefault(engine.name, []).append(tps)
                    print(f"round {turn + 1} {engine.name:10} {label(mode):28} {tps:10.0f}", file=sys.stderr, flush=True)
            finally:
                engine.stop()
    return results


def beside_scans(engine, options, directory):
    mode = ("tpcb", "prepared", 8)
    engine.start()
    try:
        load(engine, options)
        with psycopg.connect(engine.url, autocommit=True) as connection:
            Scans.prepare(connection, options.scan_rows)
        results = {"alone": [], "beside scans": [], "scans per second": [], "scans alone per second": []}
        for _ in range(options.rounds):
            results["alone"].append(pgbench(engine, options, directory, mode, latencies=True))
            with Scans(engine.url, options.scans) as scans:
                time.sleep(options.seconds / 3)
                alone, began = sum(scans.counts), time.perf_counter()
                results["scans alone per second"].append(alone / (options.seconds / 3))
                results["beside scans"].append(pgbench(engine, options, directory, mode, latencies=True))
                results["scans per second"].append((sum(scans.counts) - alone) / (time.perf_counter() - began))
            print(engine.name, {name: values[-1] for name, values in results.items()}, file=sys.stderr, flush=True)
    finally:
        engine.stop()
    return results


def print_table(results):
    print("| pgbench | Colonnade | PostgreSQL | ratio |\n|---|--:|--:|--:|")
    for name, by_engine in results.items():
        ours, theirs = (statistics.median(by_engine.get(engine, [0])) for engine in ("colonnade", "postgresql"))
        ratio = f"{ours / theirs:.2f}" if theirs else ""
        print(f"| {name} | {ours:,.0f} | {theirs:,.0f} | {ratio} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary")
    parser.add_argument("--postgres-bin", default="/usr/lib/postgresql/15/bin")
    parser.add_argument("--postgres-user", default="postgres")
    parser.add_argument("--engines", nargs="+", default=["colonnade", "postgresql"])
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="MODE", help="kind-protocol-clients, such as tpcb-prepared-8")
    parser.add_argument("--segments", action="store_true")
    parser.add_argument("--scans", type=int, default=0, metavar="SESSIONS")
    parser.add_argument("--scan-rows", type=int, default=10_000_000)
    parser.add_argument("--server-arguments", nargs=argparse.REMAINDER, default=[])
    parser.add_argument("--json", help="where to write every run's figure")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="colonnade-oltp-")
    os.chmod(directory, 0o755)
    made = [engine(options, directory) for engine in (Colonnade, PostgreSql) if engine.name in options.engines]
    try:
        if options.scans:
            results = {engine.name: beside_scans(engine, options, directory) for engine in made}
            print(json.dumps(results, indent=1))
        else:
            modes = SEGMENTS if options.segments else TABLE
            if options.only:
                modes = [(*name.rsplit("-", 2)[:2], int(name.rsplit("-", 2)[2])) for name in options.only]
            results = table(made, modes, options, directory)
            print_table(results)
        if options.json:
            with open(options.json, "w") as file:
                json.dump(results, file, indent=1)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
