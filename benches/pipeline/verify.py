"""Checks that all engines wrote the same tables: number of rows, a checksum over all exact columns, sums of the others."""

import pathlib

import duckdb

# A column is read as this before it is hashed, whatever width or precision the engine gave it.
EXACT = {
    "clean": "epoch_us(event_time), event_type, product_id, category_id::BIGINT, category_code, brand, price::DECIMAL(18, 2), "
    "user_id::BIGINT, user_session, event_date::DATE, event_hour::INTEGER",
    "sessions": "user_id::BIGINT, session_id, epoch_us(session_start), epoch_us(session_end), duration_seconds::BIGINT, "
    "view_count::BIGINT, cart_count::BIGINT, purchase_count::BIGINT, unknown_count::BIGINT, total_spent::DECIMAL(18, 2), "
    "unique_products::BIGINT, unique_categories::BIGINT, has_purchased, is_anonymous, has_unknown_events",
    "dim_users": "user_id::BIGINT, total_sessions::BIGINT, total_purchases::BIGINT, total_spent::DECIMAL(18, 2), user_segment",
    "dim_products": "product_id, brand, category_code, total_views::BIGINT",
    "dim_time": "time_id::BIGINT, event_date::DATE, event_hour::INTEGER, day_of_week::INTEGER, day_name, month::INTEGER, year::INTEGER",
    "fact": "user_id::BIGINT, product_id, session_id, time_id::BIGINT, event_type, price::DECIMAL(18, 2), epoch_us(event_timestamp)",
    "revenue_by_hour": "event_date::DATE, event_hour::INTEGER, purchases::BIGINT, revenue::DECIMAL(18, 2)",
    "top_brands": "brand, purchases::BIGINT, revenue::DECIMAL(18, 2)",
}

# Quotients, which engines round differently, as (sum, tolerance per row); and keys whose hash function differs by engine.
NEARLY = {"sessions": ("conversion_rate::DOUBLE", 1e-9), "dim_products": ("avg_price::DOUBLE", 1e-4)}
UNIQUE = {"fact": "event_id"}


def table_files(out, step):
    """The Parquet files of a step: one file, a folder of them, or the live files of a Delta table."""
    out = pathlib.Path(out)
    for folder in (out / "dev" / "bench" / step, out / step):
        if (folder / "_delta_log").is_dir():
            from deltalake import DeltaTable

            return DeltaTable(str(folder)).file_uris()
    if (out / step).is_dir():
        return [str(path) for path in (out / step).rglob("*.parquet")]
    return [str(out / f"{step}.parquet")]


def facts_about(out, threads):
    """{step: {"rows", "bytes", "checksum", "sum", "unique"}} of what an engine wrote."""
    db = duckdb.connect(config={"threads": threads})
    result = {}
    for step, columns in EXACT.items():
        files = table_files(out, step)
        nearly, _ = NEARLY.get(step, ("0", 0))
        unique = f"count(DISTINCT {UNIQUE[step]}) = count(*)" if step in UNIQUE else "true"
        query = f"""
            SELECT count(*), bit_xor(hash({columns}))::VARCHAR, sum({nearly})::DOUBLE, {unique}
            FROM read_parquet({files!r}, hive_partitioning = false)"""
        rows, checksum, total, is_unique = db.execute(query).fetchall()[0]
        size = sum(pathlib.Path(f.removeprefix("file://")).stat().st_size for f in files)
        result[step] = {"rows": rows, "bytes": size, "checksum": checksum, "sum": total, "unique": is_unique}
    return result


def differences(reference, other):
    """What differs between two engines' tables, as sentences; empty if nothing does."""
    found = []
    for step, expected in reference.items():
        got = other[step]
        if got["rows"] != expected["rows"]:
            found.append(f"{step}: {got['rows']:,} rows instead of {expected['rows']:,}")
        elif got["checksum"] != expected["checksum"]:
            found.append(f"{step}: the values differ")
        elif step in NEARLY and abs(got["sum"] - expected["sum"]) > NEARLY[step][1] * max(expected["rows"], 1):
            found.append(f"{step}: {NEARLY[step][0]} adds up to {got['sum']} instead of {expected['sum']}")
        if not got["unique"]:
            found.append(f"{step}: {UNIQUE[step]} is not unique")
    return found
