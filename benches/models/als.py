"""Matrix factorization on the Black Friday ratings: Orrery beside the library `implicit`, alternately in one run.

    python -m venv /tmp/als && /tmp/als/bin/pip install implicit==0.7.3 pandas pyarrow
    cargo build --release -p orrery-models --example als_bench
    /tmp/als/bin/python benches/models/als.py [--data DIR] [--repeat 5] [--threads 2]

Interactions are scaled to 1 + 4 * percent_rank of Purchase over all rows; rows with (User_ID * 31 + product_number / 100) % 5 = 0 are held out.
Times are the least of the repetitions, in milliseconds. Orrery's `fit` ends with the model file's content; its `iterations` are what `implicit`'s `fit` does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--data", default=str(Path(__file__).resolve().parents[3] / "shared/data/black_friday"))
parser.add_argument("--binary", default=str(Path(__file__).resolve().parents[2] / "target/release/examples/als_bench"))
parser.add_argument("--repeat", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
options = parser.parse_args()
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["RAYON_NUM_THREADS"] = str(options.threads)

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import scipy.sparse as sparse  # noqa: E402
from implicit.als import AlternatingLeastSquares  # noqa: E402

rows = pd.read_parquet(Path(options.data) / "train.parquet", columns=["User_ID", "Product_ID", "Purchase"])
users = rows["User_ID"].astype("int64").to_numpy()
items = rows["Product_ID"].str[1:].astype("int64").to_numpy()
ranks = rows["Purchase"].astype("float64").rank(method="min").to_numpy()
ratings = (1 + 4 * (ranks - 1) / (len(rows) - 1)).astype("float32")
held_out = (users * 31 + items // 100) % 5 == 0
path = f"/tmp/als_bench_{os.getpid()}.bin"
with open(path, "wb") as file:
    file.write(np.uint64(len(rows)).tobytes() + users.tobytes() + items.tobytes() + ratings.tobytes() + held_out.astype("uint8").tobytes())

user_codes, item_codes = np.unique(users, return_inverse=True)[1], np.unique(items, return_inverse=True)[1]
kept = ~held_out
matrix = sparse.csr_matrix((ratings[kept], (user_codes[kept], item_codes[kept])))


def orrery(feedback, rank, solver="auto", seed=1):
    command = [options.binary, path, feedback, str(rank), "10", solver, str(seed)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def implicit(rank):
    model = AlternatingLeastSquares(factors=rank, regularization=0.1, alpha=1.0, iterations=10, num_threads=options.threads, random_state=1, dtype=np.float32)
    begin = time.perf_counter()
    model.fit(matrix, show_progress=False)
    return {"fit_ms": (time.perf_counter() - begin) * 1000}


try:
    print(f"{kept.sum()} ratings to train on, {held_out.sum()} held out, {options.threads} threads, best of {options.repeat}", file=sys.stderr)
    cases = {
        "explicit 10": lambda: orrery("explicit", 10),
        "implicit 10": lambda: orrery("implicit", 10),
        "implicit 10 cg": lambda: orrery("implicit", 10, "cg"),
        "implicit 10, library": lambda: implicit(10),
        "implicit 64": lambda: orrery("implicit", 64),
        "implicit 64 cholesky": lambda: orrery("implicit", 64, "cholesky"),
        "implicit 64, library": lambda: implicit(64),
    }
    results = {name: [] for name in cases}
    for _ in range(options.repeat):
        for name, case in cases.items():
            results[name].append(case())
    for name, runs in results.items():
        times = {key: round(min(run[key] for run in runs), 1) for key in runs[0] if key.endswith("_ms")}
        spread = [round(run["fit_ms"]) for run in runs]
        print(f"{name:22} median fit {statistics.median(spread):6} ms  {times}")
        if "held_out" in runs[0]:
            print(f"{'':22} loss {runs[0]['losses'][-1]:.6f}  held out {runs[0]['held_out']}  ranking {runs[0]['ranking']}")
    errors = [orrery("explicit", 10, seed=seed)["held_out"]["root_mean_squared_error"] for seed in range(1, 9)]
    print(f"explicit 10: RMSE on rows held out, 8 seeds: {min(errors):.4f} to {max(errors):.4f}")
finally:
    os.unlink(path)
