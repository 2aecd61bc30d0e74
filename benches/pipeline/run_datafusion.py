"""The pipeline on plain DataFusion with the SQL an analyst would write: the engine Orrery is built on, without its rewrites."""

import pathlib

import datafusion

from steps import Timed, arguments, report, step_queries

source, out, threads = arguments()
config = datafusion.SessionConfig().with_target_partitions(threads)
context = datafusion.SessionContext(config, datafusion.RuntimeEnvBuilder().with_disk_manager_os())
report("version", version=datafusion.__version__)
context.register_parquet("raw", source)
for step, query in step_queries(pathlib.Path(__file__).parent / "datafusion"):
    with Timed(step):
        context.sql(f"COPY ({query}) TO '{out}/{step}/' STORED AS PARQUET OPTIONS ('format.compression' 'zstd(3)')").collect()
    context.register_parquet(step, f"{out}/{step}/")
