"""Runs one query on one peer in this process and reports how long it took and what came out: `engines.py ENGINE QUERY_FILE DATA THREADS`."""

import json
import pathlib
import sys
import time


def duckdb(query, data, threads):
    import duckdb

    db = duckdb.connect(config={"threads": threads, "preserve_insertion_order": False, "temp_directory": "/tmp/orrery-bench-duckdb"})
    db.execute("SET TimeZone = 'UTC'")
    for table in ("events", "people"):
        db.execute(f"CREATE VIEW {table} AS FROM read_parquet('{data}/{table}/*.parquet')")
    return duckdb.__version__, lambda: db.execute(query).fetchone()


def datafusion(query, data, threads):
    import datafusion

    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(threads))
    for table in ("events", "people"):
        context.register_parquet(table, f"{data}/{table}/")
    return datafusion.__version__, lambda: list(context.sql(query).collect()[0].to_pylist()[0].values())


def clickhouse(query, data, threads):
    import chdb

    for table in ("events", "people"):
        query = query.replace("{" + table + "}", f"file('{data}/{table}/*.parquet', Parquet)")
    query = f"{query} SETTINGS max_threads = {threads}"
    return chdb.__version__, lambda: list(json.loads(str(chdb.query(query, "JSONCompact")))["data"][0])


def spark(query, data, threads):
    from pyspark.sql import SparkSession

    settings = {
        "spark.driver.memory": "8g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": str(4 * threads),
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
        "spark.local.dir": "/tmp/orrery-bench-spark",
    }
    builder = SparkSession.builder.master(f"local[{threads}]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.range(1000).count()  # its start is not the query's
    for table in ("events", "people"):
        session.read.parquet(f"{data}/{table}").createOrReplaceTempView(table)
    return session.version, lambda: list(session.sql(query).collect()[0])


if __name__ == "__main__":
    engine, query, data, threads = sys.argv[1:5]
    version, run = globals()[engine](pathlib.Path(query).read_text(), data, int(threads))
    start = time.perf_counter()
    row = run()
    seconds = time.perf_counter() - start
    print(json.dumps({"event": "result", "version": version, "seconds": seconds, "row": [str(value) for value in row]}), flush=True)
