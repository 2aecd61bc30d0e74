"""The pipeline on Polars: lazy frames over Parquet, run by its streaming engine and sunk to zstd Parquet."""

import os

from steps import Timed, arguments, report

source, out, threads = arguments()
os.environ["POLARS_MAX_THREADS"] = str(threads)

import polars as pl  # noqa: E402  (reads the number of threads when it is imported)

report("version", version=pl.__version__)
KEY = ["event_time", "user_id", "product_id", "event_type", "price"]


def latest(column, default):
    """Per product the latest known value: of equal times the alphabetically last."""
    known = table("clean").filter(pl.col(column) != default)
    last = known.group_by("product_id").agg(pl.col("event_time").max())
    return known.join(last, on=["product_id", "event_time"], how="semi").group_by("product_id").agg(pl.col(column).max())


def count_of(event_type):
    return (pl.col("event_type") == event_type).sum().cast(pl.Int64)


def spent():
    return pl.col("price").filter(pl.col("event_type") == "purchase").sum()


def clean():
    time = pl.col("event_time").str.to_datetime("%Y-%m-%d %H:%M:%S UTC", time_unit="us", strict=False)
    return (
        pl.scan_parquet(f"{source}/*.parquet")
        .with_columns(
            time.fill_null(pl.datetime(2019, 10, 1)).alias("event_time"),
            pl.when(pl.col("event_type").is_in(["view", "cart", "purchase"]))
            .then("event_type")
            .otherwise(pl.lit("unknown"))
            .alias("event_type"),
            pl.col("price").fill_null(0).clip(0, 10_000).cast(pl.Decimal(10, 2)),
            pl.col("user_id").fill_null(-999_999),
        )
        .filter((pl.col("event_time") >= pl.datetime(2019, 10, 1)) & (pl.col("event_time") < pl.datetime(2020, 5, 1)))
        .group_by(KEY)
        .agg(pl.col("user_session", "category_id", "category_code", "brand").min())
        .select(
            "event_time",
            "event_type",
            pl.col("product_id").cast(pl.String).fill_null("unknown_product"),
            pl.col("category_id").fill_null(-1),
            pl.col("category_code").fill_null("uncategorized"),
            pl.col("brand").fill_null("unknown_brand"),
            "price",
            "user_id",
            pl.col("user_session").fill_null(pl.format("unknown_session_{}", "user_id")),
            pl.col("event_time").dt.date().alias("event_date"),
            pl.col("event_time").dt.hour().cast(pl.Int32).alias("event_hour"),
        )
    )


def sessions():
    views, purchases = pl.col("view_count"), pl.col("purchase_count")
    return (
        table("clean")
        .group_by("user_id", pl.col("user_session").alias("session_id"))
        .agg(
            pl.col("event_time").min().alias("session_start"),
            pl.col("event_time").max().alias("session_end"),
            *(count_of(kind).alias(f"{kind}_count") for kind in ("view", "cart", "purchase", "unknown")),
            spent().alias("total_spent"),
            pl.col("product_id").n_unique().cast(pl.Int64).alias("unique_products"),
            pl.col("category_code").n_unique().cast(pl.Int64).alias("unique_categories"),
        )
        .with_columns(
            (pl.col("session_end") - pl.col("session_start")).dt.total_seconds().alias("duration_seconds"),
            pl.when(views > 0).then(purchases / views).otherwise(0.0).alias("conversion_rate"),
            (purchases > 0).alias("has_purchased"),
            (pl.col("user_id") == -999_999).alias("is_anonymous"),
            (pl.col("unknown_count") > 0).alias("has_unknown_events"),
        )
    )


def dim_users():
    number = pl.col("total_sessions")
    return (
        table("sessions")
        .group_by("user_id")
        .agg(
            pl.len().cast(pl.Int64).alias("total_sessions"),
            pl.col("purchase_count").sum().alias("total_purchases"),
            pl.col("total_spent").sum(),
        )
        .with_columns(
            pl.when(number >= 10)
            .then(pl.lit("Power User"))
            .when(number >= 5)
            .then(pl.lit("Active User"))
            .when(number >= 2)
            .then(pl.lit("Occasional User"))
            .otherwise(pl.lit("One-time User"))
            .alias("user_segment")
        )
    )


def dim_products():
    numbers = (
        table("clean").group_by("product_id").agg(pl.col("price").mean().alias("avg_price"), count_of("view").alias("total_views"))
    )
    return (
        numbers.join(latest("brand", "unknown_brand"), on="product_id", how="left")
        .join(latest("category_code", "uncategorized"), on="product_id", how="left")
        .with_columns(pl.col("brand").fill_null("unknown_brand"), pl.col("category_code").fill_null("uncategorized"))
    )


def time_id():
    date = pl.col("event_date")
    year, month, day = date.dt.year().cast(pl.Int64), date.dt.month().cast(pl.Int64), date.dt.day().cast(pl.Int64)
    return (year * 1_000_000 + month * 10_000 + day * 100 + pl.col("event_hour")).alias("time_id")


def dim_time():
    date = pl.col("event_date")
    return (
        table("clean")
        .select("event_date", "event_hour")
        .unique()
        .select(
            time_id(),
            "event_date",
            "event_hour",
            date.dt.weekday().cast(pl.Int32).alias("day_of_week"),
            date.dt.strftime("%A").alias("day_name"),
            date.dt.month().cast(pl.Int32).alias("month"),
            date.dt.year().alias("year"),
        )
    )


def fact():
    return table("clean").select(
        pl.struct(KEY).hash().alias("event_id"),
        "user_id",
        "product_id",
        pl.col("user_session").alias("session_id"),
        time_id(),
        "event_type",
        "price",
        pl.col("event_time").alias("event_timestamp"),
    )


def revenue(dimension, key, columns):
    """Purchases and revenue per value of a dimension."""
    return (
        table("fact")
        .filter(pl.col("event_type") == "purchase")
        .join(table(dimension), on=key)
        .group_by(columns)
        .agg(pl.len().cast(pl.Int64).alias("purchases"), pl.col("price").sum().alias("revenue"))
    )


def revenue_by_hour():
    return revenue("dim_time", "time_id", ["event_date", "event_hour"])


def top_brands():
    return revenue("dim_products", "product_id", ["brand"]).sort(["revenue", "brand"], descending=[True, False]).head(20)


def table(step):
    return pl.scan_parquet(f"{out}/{step}.parquet")


for frame in (clean, sessions, dim_users, dim_products, dim_time, fact, revenue_by_hour, top_brands):
    with Timed(frame.__name__):
        frame().sink_parquet(f"{out}/{frame.__name__}.parquet", compression="zstd", engine="streaming")
