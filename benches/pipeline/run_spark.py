"""The pipeline on Spark, in local mode; with the argument `sail` on Sail, which speaks Spark's protocol, by the same SQL."""

import pathlib
import sys

from steps import Timed, arguments, report, step_queries

source, out, threads = arguments()
engine = sys.argv[4]


def spark_session():
    """Local Spark as its tuning guide would set it up for one machine: few shuffle partitions, adaptive execution, no UI."""
    from pyspark.sql import SparkSession

    return (
        SparkSession.builder.master(f"local[{threads}]")
        .config("spark.driver.memory", "8g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", str(4 * threads))
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", "false")
        .config("spark.ui.enabled", "false")
        .config("spark.local.dir", f"{out}/spill")
        .getOrCreate()
    )


def sail_session():
    """A Sail server inside this process and a Spark Connect client to it; the server lives as long as its object."""
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    _, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    return server, session


if engine == "sail":
    import pysail

    server, spark = sail_session()
    version = pysail.__version__
else:
    spark = spark_session()
    version = spark.version
report("version", version=version)
spark.read.parquet(source).createOrReplaceTempView("raw")
for step, query in step_queries(pathlib.Path(__file__).parent / "spark"):
    with Timed(step):
        spark.sql(query).write.mode("overwrite").option("compression", "zstd").parquet(f"{out}/{step}")
    spark.read.parquet(f"{out}/{step}").createOrReplaceTempView(step)
