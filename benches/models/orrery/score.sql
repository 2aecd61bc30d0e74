CREATE SCHEMA IF NOT EXISTS bench;
CREATE OR REPLACE MODEL bench.scorer
OPTIONS (model_type = 'kmeans', num_clusters = 8, seed = 42, max_iterations = 5)
AS SELECT x0, x1, x2 FROM read_parquet(${large});
-- measured
SELECT sum(centroid_id) AS total FROM ML.PREDICT(MODEL bench.scorer, (SELECT x0, x1, x2 FROM read_parquet(${wide})));
