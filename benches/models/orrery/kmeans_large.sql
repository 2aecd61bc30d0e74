CREATE SCHEMA IF NOT EXISTS bench;
-- measured
CREATE OR REPLACE MODEL bench.large
OPTIONS (model_type = 'kmeans', num_clusters = 8, seed = 42, max_iterations = 20, tol = 0)
AS SELECT x0, x1, x2, x3, x4, x5, x6, x7, x8, x9 FROM read_parquet(${large});
SELECT round(mean_squared_distance * (SELECT count(*) FROM read_parquet(${large})), 1) AS wssse FROM ML.EVALUATE(MODEL bench.large);
