"""`pyarrow.flight`, which knows Flight but not Flight SQL: the messages are put together here. Argument: the port."""

import sys

import pyarrow as pa
from pyarrow import flight


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def command(name, *fields):
    url = f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()
    return field(1, url) + field(2, b"".join(fields))


def refused(kind, action, *words):
    try:
        action()
    except kind as error:
        assert all(word in str(error) for word in words), error
        return
    raise AssertionError(f"not refused: {words}")


client = flight.connect(f"grpc://127.0.0.1:{sys.argv[1]}")
refused(flight.FlightUnauthenticatedError, lambda: list(client.list_actions()), "token")
header = client.authenticate_basic_token("analyst", "any")
options = flight.FlightCallOptions(headers=[header])


def query(sql):
    descriptor = flight.FlightDescriptor.for_command(command("CommandStatementQuery", field(1, sql.encode())))
    return client.get_flight_info(descriptor, options)


def rows(sql):
    info = query(sql)
    table = client.do_get(info.endpoints[0].ticket, options).read_all()
    assert table.schema == info.schema, (table.schema, info.schema)
    return table


assert {action.type for action in client.list_actions(options)} >= {"CreatePreparedStatement", "CancelFlightInfo", "CloseSession"}
assert rows("SELECT 1 AS a, 'x' AS b").to_pylist() == [{"a": 1, "b": "x"}]
rows("CREATE TABLE t AS SELECT value AS id, 'name of ' || value AS name, value % 3 AS part FROM generate_series(1, 100000)")
table = rows("SELECT id, name, part FROM t")
assert (table.num_rows, sum(table["id"].to_pylist()), table.schema.types) == (100000, 100000 * 100001 // 2, [pa.int64(), pa.string(), pa.int64()])
assert rows("SELECT * FROM t WHERE id < 0").num_rows == 0

# A statement for what it does: one message, one answer, whose first field is the count.
descriptor = flight.FlightDescriptor.for_command(command("CommandStatementUpdate", field(1, b"INSERT INTO t SELECT id, name, part FROM t LIMIT 5")))
writer, reader = client.do_put(descriptor, pa.schema([]), options)
writer.done_writing()
assert reader.read().to_pybytes() == b"\x08\x05"
writer.close()

# What would it give, and who else may read it.
schema = client.get_schema(flight.FlightDescriptor.for_command(command("CommandStatementQuery", field(1, b"SELECT id FROM t"))), options)
assert schema.schema == pa.schema([("id", pa.int64())])
info = query("SELECT 1")
other = flight.FlightCallOptions(headers=[client.authenticate_basic_token("somebody", "else")])
refused(pa.lib.ArrowException, lambda: client.do_get(info.endpoints[0].ticket, other).read_all(), "another session")
refused(pa.lib.ArrowException, lambda: query("SELEC 1"), "line 1, column 1")
refused(pa.lib.ArrowException, lambda: client.get_flight_info(flight.FlightDescriptor.for_path("t"), options), "command")

# Cancelled, it is gone: the answer's first field is the status, of which 1 is "cancelled".
info = query("SELECT value FROM generate_series(1, 100000000)")
answers = list(client.do_action(flight.Action("CancelFlightInfo", field(1, info.serialize())), options))
assert [answer.body.to_pybytes() for answer in answers] == [b"\x08\x01"]
refused(pa.lib.ArrowException, lambda: client.do_get(info.endpoints[0].ticket, options).read_all(), "no such rows")

# A reader that stops half way.
reader = client.do_get(query("SELECT value FROM generate_series(1, 100000000)").endpoints[0].ticket, options)
assert reader.read_chunk().data.num_rows > 0
reader.cancel()
assert rows("SELECT 1 AS a").to_pylist() == [{"a": 1}]
