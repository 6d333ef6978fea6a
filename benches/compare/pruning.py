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
    counts = {}
    for word in ("read", "skipped", "total"):
        for pattern in (rf"granules_{word}[=:]\s*(\d+)", rf"granules {word}[=:]?\s*(\d+)", rf"(\d+) granules {word}"):
            match = re.search(pattern, plan, re.IGNORECASE)
            if match:
                counts[word] = int(match.group(1))
                break
    if "read" not in counts or not ("skipped" in counts or "total" in counts):
        print("no granule counts in the plan")
        raise SystemExit(1)
    total = counts.get("total", counts["read"] + counts.get("skipped", 0))
    share = counts["read"] / max(total, 1)
    print(f"{counts['read']} of {total} granules read: {share:.2%}, allowed {options.share:.2%}")
    raise SystemExit(0 if share <= options.share else 1)


if __name__ == "__main__":
    main()
