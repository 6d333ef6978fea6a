"""The engines under comparison. Each runs in a process of its own, so that its memory is its own:

    python engines.py ENGINE JOB.json        prints one JSON document

A job has `tables` (name -> Parquet file), `schema` (SQL text), `queries` (name -> SQL text), `runs`, `threads`, `work` (directory) and,
for servers, `url`, `data_dir`.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time

from answers import normalise_rows
from server import directory_bytes


def statements(text):
    text = re.sub(r"--[^\n]*", "", text)
    return [s.strip() for s in text.split(";") if s.strip()]


class Engine:
    """In-process by default: peak memory is this process's own."""

    def version(self):
        raise NotImplementedError

    def load(self, job):
        """Loads the tables and returns the seconds it took; None if there is nothing to load."""

    def size_bytes(self):
        return None

    def run(self, sql):
        raise NotImplementedError

    def peak_memory_bytes(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Postgres(Engine):
    """A PostgreSQL server, loaded through COPY FROM STDIN. `data_dir` may be unknown."""

    def __init__(self, job):
        import psycopg

        self.job = job
        self.connection = psycopg.connect(job["url"], autocommit=True)

    def version(self):
        return self.connection.execute("SHOW server_version").fetchone()[0]

    def create(self, job):
        for name in job["tables"]:
            self.connection.execute(f"DROP TABLE IF EXISTS {name}")
        for statement in statements(job["schema"]):
            self.connection.execute(re.sub(r"WITH \(sort_key[^)]*\)", "", statement))

    def load(self, job):
        import pyarrow.csv
        import pyarrow.parquet

        self.create(job)
        began = time.perf_counter()
        for name, path in job["tables"].items():
            with self.connection.cursor() as cursor, cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
                for batch in pyarrow.parquet.ParquetFile(path).iter_batches(65_536):
                    # The CSV writer does not take views.
                    views = pyarrow.types.is_string_view
                    fields = [field.with_type(pyarrow.string()) if views(field.type) else field for field in batch.schema]
                    batch = batch.cast(pyarrow.schema(fields))
                    sink = pyarrow.BufferOutputStream()
                    pyarrow.csv.write_csv(batch, sink, pyarrow.csv.WriteOptions(include_header=False))
                    copy.write(sink.getvalue().to_pybytes())
        for name in job["tables"]:
            self.connection.execute(f"VACUUM ANALYZE {name}")
        return time.perf_counter() - began

    def size_bytes(self):
        names = ", ".join(f"'{name}'" for name in self.job["tables"])
        row = self.connection.execute(f"SELECT sum(pg_total_relation_size(relname::regclass)) FROM pg_class WHERE relname IN ({names})").fetchone()
        return int(row[0])

    def run(self, sql):
        return self.connection.execute(sql).fetchall()

    def peak_memory_bytes(self):
        return None


class Colonnade(Postgres):
    """Ours, over the wire; server files are read by the server itself."""

    def create(self, job):
        for name in job["tables"]:
            self.connection.execute(f"DROP TABLE IF EXISTS {name}")
        for statement in statements(job["schema"]):
            self.connection.execute(statement)

    def load(self, job):
        self.create(job)
        began = time.perf_counter()
        for name, path in job["tables"].items():
            self.connection.execute(f"COPY {name} FROM '{path}' (FORMAT parquet)")
        return time.perf_counter() - began

    def size_bytes(self):
        return directory_bytes(self.job["data_dir"]) if self.job.get("data_dir") else None

    def peak_memory_bytes(self):
        pid = self.job.get("pid")
        if not pid:
            return None
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


class DuckDb(Engine):
    def __init__(self, job):
        import duckdb

        self.path = os.path.join(job["work"], "duck.db")
        self.fresh = not os.path.exists(self.path)
        self.connection = duckdb.connect(self.path)
        self.connection.execute(f"SET threads = {job['threads']}")
        self.module = duckdb

    def version(self):
        return self.module.__version__

    def load(self, job):
        if not self.fresh:
            return None
        began = time.perf_counter()
        for name, path in job["tables"].items():
            self.connection.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{path}')")
        self.connection.execute("CHECKPOINT")
        return time.perf_counter() - began

    def size_bytes(self):
        return os.path.getsize(self.path)

    def run(self, sql):
        return self.connection.execute(sql).fetchall()


class ClickHouse(Engine):
    """ClickHouse in process (chdb). Column names are folded to lower case, as SQL does."""

    ORDER = {
        "hits": "counterid, eventdate, userid, eventtime, watchid",
        "lineitem": "l_shipdate, l_orderkey",
        "orders": "o_orderdate, o_orderkey",
    }
    REWRITES = [
        (r"\blength\(", "lengthUTF8("),
        (r"\bdate_trunc\('minute', (\w+)\)", r"toStartOfMinute(\1)"),
        (r"regexp_replace\(", "replaceRegexpOne("),
        (r"\\", r"\\\\"),
    ]

    def __init__(self, job):
        from chdb import session

        self.path = os.path.join(job["work"], "chdb")
        self.fresh = not os.path.exists(self.path)
        self.session = session.Session(self.path)
        self.threads = job["threads"]

    def version(self):
        return self.session.query("SELECT version()", "CSV").bytes().decode().strip().strip('"')

    def load(self, job):
        import pyarrow.parquet

        seconds = None
        self.session.query("CREATE DATABASE IF NOT EXISTS bench")
        if self.fresh:
            began = time.perf_counter()
            for name, path in job["tables"].items():
                columns = ", ".join(f"`{c}` AS {c.lower()}" for c in pyarrow.parquet.read_schema(path).names)
                self.session.query(
                    f"CREATE TABLE bench.{name} ENGINE = MergeTree ORDER BY ({self.ORDER.get(name, 'tuple()')}) "
                    f"AS SELECT {columns} FROM file('{path}') SETTINGS schema_inference_make_columns_nullable = 0")
                self.session.query(f"OPTIMIZE TABLE bench.{name} FINAL")
            seconds = time.perf_counter() - began
        self.session.query("USE bench")
        self.session.query(f"SET max_threads = {self.threads}, join_use_nulls = 1, output_format_json_quote_64bit_integers = 0, "
                           "output_format_json_quote_decimals = 0, output_format_decimal_trailing_zeros = 0")
        return seconds

    def size_bytes(self):
        text = self.session.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'bench'", "CSV").bytes()
        return int(text)

    def run(self, sql):
        sql = re.sub(r"--[^\n]*", "", sql).strip().rstrip(";")
        for pattern, replacement in self.REWRITES:
            sql = re.sub(pattern, replacement, sql)
        text = self.session.query(sql, "JSONCompactEachRow").bytes().decode()
        return [json.loads(line) for line in text.splitlines() if line]


class DataFusion(Engine):
    """DataFusion on the Parquet files as they are."""

    def __init__(self, job):
        import datafusion

        self.module = datafusion
        self.context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(job["threads"]))
        for name, path in job["tables"].items():
            self.context.register_parquet(f"{name}_file", path)
            columns = ", ".join(f'"{field.name}" AS {field.name.lower()}' for field in self.context.table(f"{name}_file").schema())
            self.context.sql(f"CREATE VIEW {name} AS SELECT {columns} FROM {name}_file").collect()

    def version(self):
        return self.module.__version__

    def run(self, sql):
        rows = []
        for batch in self.context.sql(sql.strip().rstrip(";")).collect():
            columns = [column.to_pylist() for column in batch.columns]
            rows.extend(zip(*columns))
        return rows


ENGINES = {"colonnade": Colonnade, "duckdb": DuckDb, "clickhouse": ClickHouse, "datafusion": DataFusion, "postgres": Postgres}


def work(name, job):
    engine = ENGINES[name](job)
    report = {"engine": name, "version": engine.version(), "load_seconds": engine.load(job), "queries": {}}
    report["size_bytes"] = engine.size_bytes()
    for query, sql in job["queries"].items():
        seconds, rows, error = [], None, None
        for _ in range(job["runs"]):
            began = time.perf_counter()
            try:
                rows = engine.run(sql)
            except Exception as failure:  # noqa: BLE001 - any failure of an engine is a result
                error = str(failure).strip().splitlines()[0][:300]
                break
            seconds.append(time.perf_counter() - began)
        print(f"{name} {query}: {min(seconds, default=float('nan')):.4f} s {error or ''}", file=sys.stderr, flush=True)
        report["queries"][query] = {"seconds": seconds, "error": error, "rows": normalise_rows(rows or [])}
    report["peak_memory_bytes"] = engine.peak_memory_bytes()
    return report


def run_in_process(name, job, timeout=7200):
    """Runs an engine in a child process and returns its report."""
    path = os.path.join(job["work"], f"job-{name}.json")
    with open(path, "w") as f:
        json.dump(job, f)
    child = subprocess.run([sys.executable, os.path.abspath(__file__), name, path], stdout=subprocess.PIPE, timeout=timeout)
    if child.returncode != 0:
        return {"engine": name, "error": f"ended with code {child.returncode}", "queries": {}}
    return json.loads(child.stdout.splitlines()[-1])


if __name__ == "__main__":
    with open(sys.argv[2]) as job_file:
        result = work(sys.argv[1], json.load(job_file))
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    sys.stdout.flush()
    os._exit(0)
