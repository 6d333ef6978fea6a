"""Equality of answers across engines: same rows in the same order, numbers equal within the accuracy of a double."""

import datetime
import decimal
import math
import re

TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d+)?")
RELATIVE = 1e-9
ABSOLUTE = 1e-9


def normalise(value):
    """One value in a form that all engines share."""
    if isinstance(value, str) and TIMESTAMP.fullmatch(value):
        return value.rstrip("0").rstrip(".") if "." in value else value
    if isinstance(value, str):
        # char(n) is padded with blanks in PostgreSQL's protocol; engines without that type give the bare text.
        return value.rstrip(" ")
    if value is None or isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.datetime):
        return normalise(value.replace(tzinfo=None).isoformat(sep=" "))
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def normalise_rows(rows):
    return [[normalise(value) for value in row] for row in rows]


def decimals(value):
    """Digits after the point."""
    text = repr(value)
    return len(text.split(".")[1]) if "." in text and "e" not in text else 0


def same_value(a, b):
    if a is None or b is None:
        return a is None and b is None
    if isinstance(a, str) and isinstance(b, (int, float)) or isinstance(b, str) and isinstance(a, (int, float)):
        try:
            a, b = float(a), float(b)
        except ValueError:
            return False
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        if a == b or math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            return True
        # Quotients of decimals end after some digits, engine by engine: one unit of the last digit that both show.
        digits = min(decimals(a), decimals(b))
        return digits >= 4 and abs(a - b) <= 1.0000001 * 10.0**-digits
    return a == b


def difference(expected, actual, ordered=True):
    """None if the answers are equal, else one line that says where they first differ."""
    if len(expected) != len(actual):
        return f"{len(actual)} rows, expected {len(expected)}"
    if not ordered:
        expected, actual = sorted(expected, key=repr), sorted(actual, key=repr)
    for i, (e, a) in enumerate(zip(expected, actual), 1):
        if len(e) != len(a):
            return f"row {i}: {len(a)} columns, expected {len(e)}"
        for j, (x, y) in enumerate(zip(e, a), 1):
            if not same_value(x, y):
                return f"row {i}, column {j}: {y!r}, expected {x!r}"
    return None
