"""The pipeline on DuckDB: each step is one COPY to zstd Parquet, and the next step reads that file."""

import pathlib

import duckdb

from steps import Timed, arguments, report, step_queries

source, out, threads = arguments()
db = duckdb.connect(config={"threads": threads, "preserve_insertion_order": False, "temp_directory": f"{out}/spill"})
report("version", version=duckdb.__version__)


def run(sql):
    db.execute(sql).fetchall()


run(f"CREATE VIEW raw AS FROM read_parquet('{source}/*.parquet')")
for step, query in step_queries(pathlib.Path(__file__).parent / "duckdb"):
    with Timed(step):
        run(f"COPY ({query}) TO '{out}/{step}.parquet' (FORMAT parquet, COMPRESSION zstd)")
    run(f"CREATE VIEW {step} AS FROM read_parquet('{out}/{step}.parquet')")
