#!/usr/bin/env python3
"""Compares the Delta tables of the clickstream pipeline with an independent DuckDB computation of the same tables.

    python tests/oracle/compare.py --warehouse DIR [--catalog dev] --source PATH_OR_GLOB_OR_FOLDER

The tables are read by the `deltalake` package, the expected rows come from clickstream.sql beside this file. One line
is printed per table. The exit code is 0 when all are equal, 1 when one differs (its first differing rows are shown)
and 2 when something needed for the comparison is missing.
"""

import argparse
import os
import pathlib
import re
import struct
import sys
from decimal import Decimal

import duckdb
import xxhash
from deltalake import DeltaTable

HERE = pathlib.Path(__file__).resolve().parent
SHOWN_ROWS = 5
HASHED_SAMPLE = 1000

# DOUBLE columns are quotients of exact numbers; only the rounding of the last bits may differ between two engines.
DOUBLE_TOLERANCE = 1e-12

ARROW_TO_DUCKDB = {
    "int32": "INTEGER",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "string_view": "VARCHAR",
    "date32[day]": "DATE",
    "timestamp[us, tz=UTC]": "TIMESTAMP",
}


class Difference(Exception):
    """What differs, ready to be printed."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--warehouse", required=True, help="folder of the warehouse")
    parser.add_argument("--catalog", default="dev")
    parser.add_argument("--source", required=True, help="the raw events: a file, a glob or a folder of Parquet, CSV or CSV.gz")
    parser.add_argument("--first-day", default="2019-10-01")
    parser.add_argument("--last-day", default="2020-04-30")
    parser.add_argument("--price-cap", type=int, default=10_000)
    parser.add_argument("--tables", help="compare only these, separated by commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", default="8GB", help="memory limit of DuckDB")
    return parser.parse_args()


def rows(db, query, *parameters):
    """Runs a statement to its end (DuckDB refuses the next one before that) and returns its rows."""
    return db.execute(query, list(parameters) or None).fetchall()


def source_files(source):
    """The files behind a path, a glob or a folder, sorted."""
    path = pathlib.Path(source)
    if path.is_dir():
        return sorted(str(p) for p in path.rglob("*") if p.name.endswith((".parquet", ".csv", ".csv.gz")))
    if path.is_file():
        return [str(path)]
    anchor = pathlib.Path(path.anchor or ".")
    pattern = str(path.relative_to(path.anchor)) if path.anchor else source
    return sorted(str(p) for p in anchor.glob(pattern) if p.is_file())


def load_raw(db, source):
    """Creates the view `raw`. CSV is text throughout, as in bronze.events."""
    files = source_files(source)
    if not files:
        raise FileNotFoundError(f"no Parquet, CSV or CSV.gz file at {source}")
    if all(f.endswith(".parquet") for f in files):
        rows(db, f"CREATE VIEW raw AS FROM read_parquet({files!r})")
    else:
        rows(db, f"CREATE VIEW raw AS FROM read_csv({files!r}, header = true, all_varchar = true, delim = ',', quote = '\"')")


def sections():
    """The script of clickstream.sql: the statements before the first table, then (table, key columns, query) of each."""
    parts = re.split(r"^-- table (\S+) key ?(.*)$", (HERE / "clickstream.sql").read_text(), flags=re.MULTILINE)
    tables = [
        (name, [column.strip() for column in key.split(",") if column.strip()], query.strip().rstrip(";"))
        for name, key, query in zip(parts[1::3], parts[2::3], parts[3::3])
    ]
    return parts[0], tables


def duckdb_type(arrow_type, column):
    text = str(arrow_type)
    if text.startswith("decimal128"):
        return text.replace("decimal128", "DECIMAL").replace(", ", ",")
    if text not in ARROW_TO_DUCKDB:
        raise Difference(f"column {column} has the unexpected type {text}")
    return ARROW_TO_DUCKDB[text]


def load_actual(db, warehouse, catalog, name):
    """Creates the view `actual` over one Delta table and returns {column: DuckDB type}."""
    schema, table = name.split(".")
    dataset = DeltaTable(str(pathlib.Path(warehouse) / catalog / schema / table)).to_pyarrow_dataset()
    types = {field.name: duckdb_type(field.type, field.name) for field in dataset.schema}
    db.register("delta_table", dataset)
    # UTC timestamps become plain ones: DuckDB's own arithmetic with zones needs an extension that is downloaded.
    columns = ", ".join(
        f'make_timestamp(epoch_us("{c}")) AS "{c}"' if t == "TIMESTAMP" else f'"{c}"' for c, t in types.items()
    )
    rows(db, f"CREATE OR REPLACE TEMP TABLE actual AS SELECT {columns} FROM delta_table")
    db.unregister("delta_table")
    return types


def same(column, column_type):
    """SQL: the column is equal in `a` (actual) and `e` (expected)."""
    a, e = f'a."{column}"', f'e."{column}"'
    if column_type == "DOUBLE":
        close = f"abs({a} - {e}) <= {DOUBLE_TOLERANCE} * greatest(abs({a}), abs({e}))"
        return f"({a} IS NOT DISTINCT FROM {e} OR coalesce({close}, false))"
    return f"({a} IS NOT DISTINCT FROM {e})"


def shown(db, query):
    return str(db.sql(query).limit(SHOWN_ROWS))


def check_schema(actual, expected):
    if actual == expected:
        return
    lines = [
        f"  {c}: found {actual.get(c, 'nothing')}, expected {expected.get(c, 'nothing')}"
        for c in list(expected) + [c for c in actual if c not in expected]
        if actual.get(c) != expected.get(c)
    ]
    raise Difference("the columns differ\n" + ("\n".join(lines) or f"  order: found {list(actual)}, expected {list(expected)}"))


def check_keyed(db, key, types):
    """Row for row over a unique key: nothing missing, nothing more, and every column equal."""
    names = ", ".join(f'"{k}"' for k in key)
    for side in ("actual", "expected"):
        twice = f"SELECT {names}, count(*) AS times FROM {side} GROUP BY ALL HAVING times > 1"
        if rows(db, f"SELECT count(*) FROM ({twice})")[0][0]:
            raise Difference(f"the key ({names}) is not unique in the {side} rows\n{shown(db, twice)}")
    on = " AND ".join(f'a."{k}" IS NOT DISTINCT FROM e."{k}"' for k in key)
    for side, mine, other in (("expected", "e", "a"), ("found", "a", "e")):
        tables = {"a": "actual", "e": "expected"}
        only = f"SELECT {mine}.* FROM {tables[mine]} {mine} ANTI JOIN {tables[other]} {other} ON {on}"
        number = rows(db, f"SELECT count(*) FROM ({only})")[0][0]
        if number:
            raise Difference(f"{number} rows were only {side}\n{shown(db, only)}")
    values = [c for c in types if c not in key]
    joined = f"FROM actual a JOIN expected e ON {on}"
    counts = ", ".join(f"count(*) FILTER (NOT {same(c, types[c])})" for c in values)
    wrong = [(c, n) for c, n in zip(values, rows(db, f"SELECT {counts} {joined}")[0]) if n] if values else []
    if wrong:
        column, number = wrong[0]
        keys = ", ".join(f'a."{k}"' for k in key)
        differing = f'SELECT {keys}, a."{column}" AS found, e."{column}" AS expected {joined} WHERE NOT {same(column, types[column])}'
        others = "".join(f", {c} in {n}" for c, n in wrong[1:])
        raise Difference(f"{column} differs in {number} rows{others}\n{shown(db, differing)}")


def check_bag(db, types):
    """Without a key: the same rows equally often, in any order; a table of one row by column instead."""
    if rows(db, "SELECT (SELECT count(*) FROM actual) = 1 AND (SELECT count(*) FROM expected) = 1")[0][0]:
        for column in types:
            query = f'SELECT a."{column}" AS found, e."{column}" AS expected FROM actual a, expected e WHERE NOT {same(column, types[column])}'
            if rows(db, query):
                raise Difference(f"{column} differs\n{shown(db, query)}")
        return
    for side, first, second in (("found", "actual", "expected"), ("expected", "expected", "actual")):
        only = f"FROM {first} EXCEPT ALL FROM {second}"
        number = rows(db, f"SELECT count(*) FROM ({only})")[0][0]
        if number:
            raise Difference(f"{number} rows were only {side}\n{shown(db, only)}")


def chained_xxhash64(values):
    """The hash that SQL's xxhash64(a, b, …) documents: seed 42, each value's hash seeds the next; numbers as 8 bytes."""
    digest = 42
    for value in values:
        data = struct.pack("<q", value) if isinstance(value, int) else value.encode()
        digest = xxhash.xxh64_intdigest(data, digest)
    return digest - (1 << 64) if digest >= 1 << 63 else digest


def check_event_ids(db):
    """event_id is unique, and it is the documented hash of the event's key: so it cannot change between two runs."""
    number, ids = rows(db, "SELECT count(*), count(DISTINCT event_id) FROM actual")[0]
    if number != ids:
        raise Difference(f"{number - ids} event_ids are not unique")
    sample = rows(db, 
        "SELECT event_id, epoch_us(event_timestamp), user_id, product_id, event_type, price FROM actual "
        f"ORDER BY event_id LIMIT {HASHED_SAMPLE}"
    )
    for event_id, microseconds, user_id, product_id, event_type, price in sample:
        cents = int((price * Decimal(100)).to_integral_exact())
        expected = chained_xxhash64([microseconds, user_id, product_id, event_type, cents])
        if event_id != expected:
            raise Difference(f"event_id {event_id} of user {user_id}, product {product_id} should be {expected}")


def compare(db, options, name, key, query):
    """Returns the number of rows of an equal table; raises Difference otherwise."""
    types = load_actual(db, options.warehouse, options.catalog, name)
    rows(db, f"CREATE OR REPLACE TEMP TABLE expected AS {query}")
    expected = db.table("expected")
    expected_types = {column: str(column_type) for column, column_type in zip(expected.columns, expected.types)}
    if name == "gold.fact_events":
        # The reference does not repeat the hash; it is checked by itself.
        check_event_ids(db)
        if types.pop("event_id", None) != "BIGINT":
            raise Difference("event_id is not BIGINT")
    check_schema(types, expected_types)
    if key:
        check_keyed(db, key, types)
    else:
        check_bag(db, types)
    return rows(db, "SELECT count(*) FROM actual")[0][0]


def main():
    options = arguments()
    db = duckdb.connect(config={"threads": options.threads, "memory_limit": options.memory})
    try:
        load_raw(db, options.source)
    except (FileNotFoundError, duckdb.Error) as error:
        print(f"cannot read the raw events: {error}", file=sys.stderr)
        return 2
    rows(db, "SET VARIABLE first_day = ?", options.first_day)
    rows(db, "SET VARIABLE last_day = ?", options.last_day)
    rows(db, "SET VARIABLE price_cap = ?", options.price_cap)
    preparation, tables = sections()
    rows(db, preparation)
    wanted = options.tables.split(",") if options.tables else [name for name, _, _ in tables]
    unknown = sorted(set(wanted) - {name for name, _, _ in tables})
    if unknown:
        print(f"no such table in the reference: {', '.join(unknown)}", file=sys.stderr)
        return 2
    failures = 0
    for name, key, query in tables:
        if name not in wanted:
            continue
        try:
            number = compare(db, options, name, key, query)
            print(f"{name:<28} equal    {number:>12,} rows", flush=True)
        except Exception as error:  # a table that cannot be read is a difference too, and the others are still compared
            failures += 1
            print(f"{name:<28} DIFFERS  {error}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    code = main()
    # The threads of pyarrow and deltalake sometimes abort an interpreter that ends in the ordinary way.
    sys.stdout.flush()
    os._exit(code)
