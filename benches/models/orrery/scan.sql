-- measured
SELECT round(sum(x0) + sum(x1) + sum(x2), 1) AS total FROM read_parquet(${wide});
