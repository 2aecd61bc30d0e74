"""Writes tables with the deltalake package for the integration test `tables_of_deltalake_are_read_and_extended`."""

import datetime as dt
import os
import sys
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

root = Path(sys.argv[1])
start = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)


def batch(low, high):
    ids = range(low, high)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "part": ["abc"[i % 3] for i in ids],
            # Microseconds: statistics of other writers keep milliseconds only, so a maximum from them alone would be wrong.
            "at": pa.array([start + dt.timedelta(milliseconds=i, microseconds=999) for i in ids], pa.timestamp("us", "UTC")),
        }
    )


plain = str(root / "plain")
for low in range(0, 300, 100):
    write_deltalake(plain, batch(low, low + 100), partition_by=["part"], mode="append")
DeltaTable(plain).create_checkpoint()

evolved = str(root / "evolved")
write_deltalake(evolved, batch(0, 100))
wider = batch(100, 200).append_column("added", pa.array(["x"] * 100))
write_deltalake(evolved, wider, mode="append", schema_mode="merge")

# The threads of pyarrow and deltalake sometimes abort an interpreter that ends in the ordinary way.
sys.stdout.flush()
os._exit(0)
