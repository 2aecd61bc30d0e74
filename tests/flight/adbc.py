"""ADBC's Flight SQL driver against a server: queries, parameters, writes, ingestion, metadata, sessions, errors. Argument: the port."""

import sys

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pyarrow as pa
from adbc_driver_flightsql import DatabaseOptions

uri = f"grpc://127.0.0.1:{sys.argv[1]}"


def connect(**options):
    return flightsql.connect(uri, db_kwargs={"username": "analyst", "password": "any", **options}, autocommit=True)


def refused(action, *words):
    try:
        action()
    except adbc_driver_manager.Error as error:
        assert all(word in str(error) for word in words), error
        return error
    raise AssertionError(f"not refused: {words}")


with connect() as connection, connection.cursor() as cursor:
    cursor.execute("SELECT 42 AS answer, 'text' AS name")
    assert cursor.fetchall() == [(42, "text")]

    # Writes and their counts.
    cursor.execute("CREATE TABLE items (id BIGINT, name STRING, price DECIMAL(10, 2), day DATE)")
    cursor.execute("INSERT INTO items VALUES (1, 'pen', 1.5, DATE '2024-01-01'), (2, 'ink', 7.25, NULL)")
    assert cursor.rowcount == 2, cursor.rowcount
    cursor.execute("SELECT * FROM items ORDER BY id")
    assert [column[0] for column in cursor.description] == ["id", "name", "price", "day"]
    assert str(cursor.fetchall()[0]) == "(1, 'pen', Decimal('1.50'), datetime.date(2024, 1, 1))"

    # Parameters: positional, typed, many rows at a time; text that looks like SQL is text.
    cursor.execute("SELECT name FROM items WHERE id = ? AND price < ?", (1, 2.5))
    assert cursor.fetchall() == [("pen",)]
    cursor.executemany("INSERT INTO items (id, name) VALUES (?, ?)", [(3, "cap"), (4, "'; DROP TABLE items; --")])
    assert cursor.rowcount == 2, cursor.rowcount
    cursor.execute("SELECT count(*) FROM items WHERE name = ?", ("'; DROP TABLE items; --",))
    assert cursor.fetchone() == (1,)
    refused(lambda: cursor.execute("SELECT name FROM items WHERE id = ?", ("one",)), "bigint")
    refused(lambda: cursor.execute("SELECT name FROM items WHERE id = ?", (1, 2)), "1 parameters, 2 values")

    # What a statement would give, and its parameters.
    schema = cursor.adbc_execute_schema("SELECT id, name FROM items")
    assert schema == pa.schema([("id", pa.int64()), ("name", pa.string())]), schema
    assert cursor.adbc_prepare("SELECT id FROM items WHERE price > ? AND name = ?").types == [pa.decimal128(10, 2), pa.string()]

    # Ingestion in every mode.
    rows = pa.table({"id": [1, 2, 3], "name": ["a", None, "ü"]})
    assert cursor.adbc_ingest("sent", rows, mode="create") == 3
    refused(lambda: cursor.adbc_ingest("sent", rows, mode="create"), "exists already")
    assert cursor.adbc_ingest("sent", rows, mode="append") == 3
    assert cursor.adbc_ingest("sent", rows.to_batches()[0], mode="create_append") == 3
    cursor.execute("SELECT count(*), count(name) FROM sent")
    assert cursor.fetchone() == (9, 6)
    assert cursor.adbc_ingest("sent", pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches()), mode="replace") == 3
    cursor.execute("SELECT * FROM sent ORDER BY id")
    assert cursor.fetch_arrow_table() == rows
    assert cursor.adbc_ingest("mine", rows, mode="create", temporary=True) == 3
    cursor.execute("SELECT count(*) FROM mine")
    assert cursor.fetchone() == (3,)

    # Names, columns and abilities.
    assert connection.adbc_get_table_types() == ["TABLE", "VIEW"]
    assert connection.adbc_get_table_schema("sent").names == ["id", "name"]
    objects = connection.adbc_get_objects(catalog_filter="dev", db_schema_filter="default").read_all().to_pylist()
    tables = {table["table_name"]: table for table in objects[0]["catalog_db_schemas"][0]["db_schema_tables"]}
    assert {"items", "sent"} <= set(tables), tables
    assert [column["column_name"] for column in tables["sent"]["table_columns"]] == ["id", "name"]
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "Orrery", info

    # Errors keep the connection.
    error = refused(lambda: cursor.execute("SELECT\n  nam FROM items"), "nam", "line 2, column 3")
    assert isinstance(error, flightsql.ProgrammingError), type(error)
    cursor.execute("SELECT 1")
    assert cursor.fetchone() == (1,)

    # Several statements, and models where they are a part of the dialect.
    cursor.execute("CREATE TABLE points AS SELECT value % 10 AS x, value % 7 AS y FROM generate_series(1, 1000)")
    cursor.execute("CREATE MODEL groups OPTIONS (model_type = 'kmeans', num_clusters = 3) AS SELECT x, y FROM points")
    cursor.execute("SELECT count(DISTINCT centroid_id) FROM ML.PREDICT(MODEL groups, TABLE points)")
    assert cursor.fetchone() == (3,)
    cursor.execute("SET least = 5; SELECT count(*) FROM points WHERE x >= ${least}")
    assert cursor.fetchone() == (500,)

    # A large result, in batches, and one that is left half way.
    cursor.execute("SELECT value FROM generate_series(1, 2000000)")
    assert sum(len(batch) for batch in cursor.fetch_record_batch()) == 2_000_000
    cursor.execute("SELECT value FROM generate_series(1, 100000000)")
    assert cursor.fetchone() == (1,)

# Sessions: where names are looked up, and what a connection keeps to itself.
with connect() as first, connect() as second, first.cursor() as one, second.cursor() as two:
    one.execute("CREATE SCHEMA apart")
    first.adbc_current_db_schema = "apart"
    assert (first.adbc_current_catalog, first.adbc_current_db_schema) == ("dev", "apart")
    one.execute("CREATE TABLE here AS SELECT 1 AS x")
    one.execute("SELECT * FROM here")
    assert one.fetchall() == [(1,)]
    refused(lambda: two.execute("SELECT * FROM here"), "does not exist")
    refused(lambda: setattr(first, "adbc_current_catalog", "none"))

# A client that asks for transactions is told that there are none, and goes on.
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    with flightsql.connect(uri, db_kwargs={"username": "analyst", "password": "any"}) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)

# Without a name there is no way in; with a made-up token neither.
refused(lambda: flightsql.connect(uri, autocommit=True).cursor().execute("SELECT 1"), "token")
made_up = {DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer made-up"}
refused(lambda: flightsql.connect(uri, db_kwargs=made_up, autocommit=True).cursor().execute("SELECT 1"), "token")
# Cookies are taken from those that send them.
with connect(**{DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true"}) as connection, connection.cursor() as cursor:
    cursor.execute("SET kept = 'yes'")
    cursor.execute("SELECT ${kept}")
    assert cursor.fetchone() == ("yes",)
