CREATE SCHEMA IF NOT EXISTS bench;
-- measured
CREATE OR REPLACE MODEL bench.wide
OPTIONS (model_type = 'kmeans', num_clusters = 8, seed = 42, max_iterations = 20)
AS SELECT x0, x1, x2 FROM read_parquet(${wide});
