"""Makes the inputs of the comparison, the same for every engine: customers and ratings from sales, and points around centres."""

import pathlib


def black_friday(sales, work):
    """Customers with four features, and ratings from 1 to 5 with a mark on a fifth that is held out."""
    import duckdb

    customers, ratings = work / "customers.parquet", work / "ratings.parquet"
    if not (customers.exists() and ratings.exists()):
        db = duckdb.connect()
        db.execute(
            f"""CREATE TABLE sales AS SELECT CAST(User_ID AS BIGINT) AS user_id, Product_ID AS product_id, CAST(Purchase AS BIGINT) AS amount
            FROM read_parquet('{sales}')"""
        )
        db.execute(
            f"""COPY (SELECT user_id, COUNT(*) AS frequency, SUM(amount)::BIGINT AS monetary, AVG(amount) AS average_amount,
            COUNT(DISTINCT product_id) AS distinct_products FROM sales GROUP BY user_id ORDER BY user_id) TO '{customers}'"""
        )
        db.execute(
            f"""COPY (SELECT user_id, CAST(substr(product_id, 2) AS BIGINT) AS product_id,
            1 + 4 * percent_rank() OVER (ORDER BY amount) AS rating,
            (user_id * 31 + CAST(substr(product_id, 2) AS BIGINT) // 100) % 5 = 0 AS is_held_out
            FROM sales ORDER BY user_id, product_id) TO '{ratings}'"""
        )
    return customers, ratings


def blobs(path, rows, columns):
    """Points around eight centres."""
    import numpy
    import pyarrow
    import pyarrow.parquet

    if not pathlib.Path(path).exists():
        random = numpy.random.default_rng(42)
        centres = random.uniform(-10, 10, (8, columns))
        writer, left = None, rows
        while left:
            size = min(left, 1_000_000)
            points = centres[random.integers(0, 8, size)] + random.normal(0, 3, (size, columns))
            table = pyarrow.table({f"x{i}": points[:, i] for i in range(columns)})
            writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
            left -= size
        writer.close()
    return path
