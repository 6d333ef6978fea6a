#!/usr/bin/env python3
"""Checks with EXPLAIN ANALYZE which share of the granules a filter on the sort key reads.

    pruning.py --url postgresql://... --sql "SELECT count(*) FROM hits WHERE counterid = 62" --share 0.02
"""

import argparse
import re

import psycopg


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--sql", default="SELECT count(*) FROM hits WHERE counterid = 62")
    parser.add_argument("--share", type=float, default=0.02, help="greatest allowed share of granules read")
    options = parser.parse_args()
    with psycopg.connect(options.url, autocommit=True) as connection:
        plan = "\n".join(str(row[0]) for row in connection.execute("EXPLAIN ANALYZE " + options.sql).fetchall())
    print(plan)
    scans = re.findall(r"Granules: read=(\d+) skipped=(\d+)", plan)
    if not scans:
        print("no granule counts in the plan")
        raise SystemExit(1)
    read, skipped = (sum(int(scan[i]) for scan in scans) for i in (0, 1))
    total = read + skipped
    share = read / max(total, 1)
    print(f"{read} of {total} granules read: {share:.2%}, allowed {options.share:.2%}")
    raise SystemExit(0 if share <= options.share else 1)


if __name__ == "__main__":
    main()
