#!/usr/bin/env python3
"""Loads the same Parquet files into several engines, runs the same queries, checks the answers row by row, and reports.

    compare.py hits --data /data/hits.parquet            compare.py tpch --data /data/tpch1

Answers are held against DuckDB's. Times are the best of the runs after the first. Ratios add 10 ms to both sides, as ClickBench does.
"""

import argparse
import datetime
import glob
import json
import math
import os
import platform
import re
import subprocess
import tempfile

from answers import difference
from engines import ENGINES, run_in_process
from server import Server, find_binary

HERE = os.path.dirname(os.path.abspath(__file__))
QUERIES = os.path.join(HERE, "..", "queries")


def machine():
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo") as f:
            model = next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def commit():
    try:
        return subprocess.check_output(["git", "-C", HERE, "describe", "--always", "--dirty"], text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def queries_of(workload, only):
    queries = {}
    for path in glob.glob(os.path.join(QUERIES, workload, "q*.sql")):
        name = os.path.basename(path)[:-4]
        if not only or name in only:
            with open(path) as f:
                queries[name] = f.read()
    return dict(sorted(queries.items(), key=lambda item: int(re.sub(r"\D", "", item[0]))))


def hot(entry):
    seconds = entry.get("seconds") or []
    return min(seconds[1:] or seconds) if seconds and not entry.get("error") else None


def geometric_mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def check(reports, queries, reference):
    """Problems of each engine against the reference: engine -> {query: text}."""
    problems = {}
    expected = reports[reference]["queries"]
    for engine, report in reports.items():
        for query, sql in queries.items():
            entry = report["queries"].get(query, {"error": report.get("error", "not run")})
            if entry.get("error"):
                problems.setdefault(engine, {})[query] = entry["error"]
            elif engine != reference and not expected[query].get("error"):
                if "-- unordered" in sql:
                    same = len(expected[query]["rows"]) == len(entry["rows"])
                    text = None if same else "another number of rows"
                else:
                    text = difference(expected[query]["rows"], entry["rows"])
                if text:
                    problems.setdefault(engine, {})[query] = text
    return problems


def markdown(workload, reports, queries, problems, facts):
    engines = list(reports)
    lines = [f"# {workload}", "", *(f"- {key}: {value}" for key, value in facts.items()), ""]
    lines += ["| | " + " | ".join(engines) + " |", "|---|" + "--:|" * len(engines)]

    def row(name, cells):
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    def number(value, unit=1.0, digits=2):
        return "" if value is None else f"{value / unit:,.{digits}f}"

    row("version", [str(reports[e].get("version", "")) for e in engines])
    row("load, s", [number(reports[e].get("load_seconds")) for e in engines])
    row("size, MB", [number(reports[e].get("size_bytes"), 1e6, 0) for e in engines])
    row("peak memory, MB", [number(reports[e].get("peak_memory_bytes"), 1e6, 0) for e in engines])
    times = {e: {q: hot(reports[e]["queries"].get(q, {})) for q in queries} for e in engines}
    for query in queries:
        cells = []
        for engine in engines:
            seconds, problem = times[engine][query], problems.get(engine, {}).get(query)
            cells.append("fails" if seconds is None else f"{seconds * 1000:,.1f}" + (" (differs)" if problem else ""))
        row(f"{query}, ms", cells)
    row("sum, s", [number(sum(t for t in times[e].values() if t is not None)) for e in engines])
    others = [e for e in engines if e != "colonnade"]
    if "colonnade" in engines:
        ours = times["colonnade"]
        cells = []
        for engine in engines:
            ratios = [(ours[q] + 0.01) / (times[engine][q] + 0.01) for q in queries if ours[q] is not None and times[engine][q] is not None]
            cells.append(number(geometric_mean(ratios)))
        row("ours against it (geometric mean, +10 ms)", cells)
        best = []
        for q in queries:
            peers = [times[e][q] for e in others if times[e][q] is not None]
            if ours[q] is not None and peers:
                best.append((ours[q] + 0.01) / (min(peers) + 0.01))
        lines += ["", f"Ours against the best peer of each query (geometric mean, +10 ms): {number(geometric_mean(best))}"]
    lines += ["", "Answers: " + ("all equal, row by row." if not problems else "")]
    for engine, entries in problems.items():
        lines += [f"- {engine} {query}: {text}" for query, text in entries.items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=["hits", "tpch"])
    parser.add_argument("--data", required=True, help="a Parquet file, or a directory of TABLE.parquet")
    parser.add_argument("--engines", default="colonnade,duckdb,clickhouse,datafusion", help=f"of {','.join(ENGINES)}")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--queries", default="", help="names, separated by commas; all by default")
    parser.add_argument("--binary", default=None, help="our server; the release build by default")
    parser.add_argument("--postgres-url", default="postgresql://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--work", default=None, help="directory for the engines' files; temporary by default, kept if given")
    parser.add_argument("--out", default=os.path.join(HERE, "..", "results"))
    options = parser.parse_args()

    data = os.path.abspath(options.data)
    files = sorted(glob.glob(os.path.join(data, "*.parquet"))) if os.path.isdir(data) else [data]
    tables = {os.path.basename(f)[:-8]: f for f in files} if os.path.isdir(data) else {options.workload: data}
    queries = queries_of(options.workload, set(filter(None, options.queries.split(","))))
    with open(os.path.join(QUERIES, options.workload, "schema.sql")) as f:
        schema = f.read()
    scratch = tempfile.TemporaryDirectory(prefix="compare-") if options.work is None else None
    base = scratch.name if scratch else os.path.abspath(options.work)
    reports = {}
    for engine in options.engines.split(","):
        work = os.path.join(base, f"{options.workload}-{engine}")
        os.makedirs(work, exist_ok=True)
        job = {"tables": tables, "schema": schema, "queries": queries, "runs": options.runs, "threads": options.threads, "work": work}
        server = None
        if engine == "colonnade":
            server = Server(options.binary or find_binary(), os.path.join(work, "data"), os.path.join(work, "server.log"))
            server.start()
            job |= {"url": server.url, "data_dir": server.data_dir, "pid": server.process.pid}
        elif engine == "postgres":
            job["url"] = options.postgres_url
        try:
            reports[engine] = run_in_process(engine, job)
        finally:
            if server:
                server.stop()
    reference = "duckdb" if "duckdb" in reports else next(iter(reports))
    problems = check(reports, queries, reference)
    facts = {
        "machine": machine(),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "data": ", ".join(f"{os.path.basename(f)} ({os.path.getsize(f):,} bytes)" for f in files),
        "runs": f"{options.runs}, best of all but the first; {options.threads} threads",
    }
    text = markdown(options.workload, reports, queries, problems, facts)
    print(text)
    os.makedirs(options.out, exist_ok=True)
    name = f"compare-{options.workload}"
    with open(os.path.join(options.out, f"{name}.md"), "w") as f:
        f.write(text)
    for report in reports.values():
        for entry in report["queries"].values():
            entry["rows"] = len(entry["rows"])
    with open(os.path.join(options.out, f"{name}.json"), "w") as f:
        json.dump({"facts": facts, "reports": reports, "problems": problems}, f, indent=1)
    if scratch:
        scratch.cleanup()
    raise SystemExit(1 if problems.get("colonnade") else 0)


if __name__ == "__main__":
    main()
