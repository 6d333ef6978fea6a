#!/usr/bin/env python3
"""Checks all 22 TPC-H answers of a server against DuckDB on the same Parquet files, row by row.

    tpch_answers.py --data /data/tpch1                          starts a server on a fresh directory and loads it
    tpch_answers.py --data /data/tpch1 --url postgresql://...   uses a running server; --no-load if the tables are there

Ends with `22 of 22 answers equal` and code 0, or says what differs and ends with code 1.
"""

import argparse
import glob
import os
import tempfile
import time

import duckdb
import psycopg

from answers import difference, normalise_rows
from engines import statements
from server import Server, directory_bytes, find_binary

QUERIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "queries", "tpch")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="directory of TABLE.parquet")
    parser.add_argument("--url", default=None, help="a running server that can read the same files")
    parser.add_argument("--no-load", action="store_true", help="the server's tables are loaded already (a demo's, say)")
    parser.add_argument("--binary", default=None)
    options = parser.parse_args()

    reference = duckdb.connect()
    files = sorted(glob.glob(os.path.join(os.path.abspath(options.data), "*.parquet")))
    for path in files:
        reference.execute(f"CREATE VIEW {os.path.basename(path)[:-8]} AS SELECT * FROM '{path}'")

    with tempfile.TemporaryDirectory(prefix="tpch-") as work:
        server, url = None, options.url
        if url is None:
            server = Server(options.binary or find_binary(), os.path.join(work, "data"), os.path.join(work, "server.log"))
            server.start()
            url = server.url
        try:
            failures = check(url, reference, files, not options.no_load)
            if server:
                print(f"size {directory_bytes(server.data_dir) / 1e6:.0f} MB, peak memory {server.peak_memory_bytes() / 1e6:.0f} MB")
        finally:
            if server:
                server.stop()
    raise SystemExit(1 if failures else 0)


def check(url, reference, files, load):
    connection = psycopg.connect(url, autocommit=True)
    if load:
        with open(os.path.join(QUERIES, "schema.sql")) as f:
            for statement in statements(f.read()):
                connection.execute(statement)
        began = time.perf_counter()
        for path in files:
            connection.execute(f"COPY {os.path.basename(path)[:-8]} FROM '{path}' (FORMAT parquet)")
        print(f"loaded in {time.perf_counter() - began:.1f} s")
    for path in files:
        table = os.path.basename(path)[:-8]
        ours = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        theirs = reference.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        if ours != theirs:
            print(f"{table}: {ours} rows, expected {theirs}")
            return 22
    equal = 0
    for number in range(1, 23):
        with open(os.path.join(QUERIES, f"q{number}.sql")) as f:
            sql = f.read()
        expected = normalise_rows(reference.execute(sql).fetchall())
        began = time.perf_counter()
        try:
            actual = normalise_rows(connection.execute(sql).fetchall())
            problem = difference(expected, actual)
        except psycopg.Error as error:
            problem = f"{error.sqlstate}: {error}"
            if connection.closed:
                connection = psycopg.connect(url, autocommit=True)
        seconds = time.perf_counter() - began
        equal += problem is None
        print(f"q{number}: {seconds * 1000:8.1f} ms, {len(expected)} rows, {'equal' if problem is None else problem}")
    print(f"{equal} of 22 answers equal")
    return 22 - equal


if __name__ == "__main__":
    main()
