"""Scores rows with exported models in onnxruntime and compares with what the program predicted: `onnxruntime_predicts_what_we_predict`.

Arguments: a folder with clusters.onnx, cosine.onnx, components.onnx, and predictions.csv of the columns x, y, z, cluster, cosine, first, second; an empty z is NULL.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import onnxruntime

folder = Path(sys.argv[1])
with open(folder / "predictions.csv", newline="") as file:
    rows = list(csv.DictReader(file))


def column(name):
    return np.array([[float(row[name]) if row[name] else np.nan] for row in rows])


inputs = {name: column(name) for name in ("x", "y", "z")}


def scored(name):
    session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


for name, predicted in (("clusters.onnx", "cluster"), ("cosine.onnx", "cosine")):
    found = scored(name)
    if not np.array_equal(found, column(predicted)[:, 0].astype(np.int64)):
        sys.exit(f"{name} gives {found!r}")
found = scored("components.onnx")
expected = np.hstack([column("first"), column("second")])
if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-9, atol=1e-9):
    sys.exit(f"components.onnx gives {found!r}\nand not {expected!r}")
print("equal")
