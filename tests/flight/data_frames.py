"""pandas and polars over ADBC: frames in, frames out. Argument: the port."""

import sys

import adbc_driver_flightsql.dbapi as flightsql
import pandas
import polars

uri = f"grpc://127.0.0.1:{sys.argv[1]}"
connection = flightsql.connect(uri, db_kwargs={"username": "analyst", "password": "any"}, autocommit=True)

frame = pandas.DataFrame({"user": ["ann", "ben", None], "amount": [1.5, 2.5, 4.0], "at": pandas.to_datetime(["2024-01-01", "2024-02-29", None])})
assert frame.to_sql("orders", connection, index=False) == 3
assert frame.to_sql("orders", connection, index=False, if_exists="append") == 3
read = pandas.read_sql('SELECT "user", sum(amount) AS total FROM orders WHERE amount > 2 GROUP BY "user" ORDER BY total', connection)
assert read["total"].tolist() == [5.0, 8.0], read
assert pandas.read_sql("SELECT count(*) AS n FROM orders", connection)["n"][0] == 6

columns = polars.DataFrame({"id": [1, 2, 3], "tags": [["a"], ["b", "c"], []], "name": ["x", "y", "z"]})
assert columns.write_database("tagged", connection, if_table_exists="replace") in (3, -1)
read = polars.read_database("SELECT id, tags, name FROM tagged WHERE id >= 2 ORDER BY id", connection)
assert read.equals(columns.filter(polars.col("id") >= 2)), read
assert polars.read_database("SELECT * FROM tagged WHERE id > 9", connection).height == 0
connection.close()
