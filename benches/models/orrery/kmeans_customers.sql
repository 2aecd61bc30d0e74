CREATE SCHEMA IF NOT EXISTS bench;
CREATE OR REPLACE TABLE bench.customers AS SELECT * FROM read_parquet(${customers});
-- once, so that what is measured finds the program warm, as the peers are
CREATE OR REPLACE MODEL bench.segments
OPTIONS (model_type = 'kmeans', num_clusters = 2, standardize_features = TRUE)
AS SELECT frequency, monetary, average_amount, distinct_products FROM bench.customers;
-- measured
CREATE OR REPLACE MODEL bench.segments
OPTIONS (model_type = 'kmeans', num_clusters = ${clusters}, n_init = ${n_init}, standardize_features = TRUE, seed = 42, max_iterations = 20)
AS SELECT frequency, monetary, average_amount, distinct_products FROM bench.customers;
SELECT round(mean_squared_distance * (SELECT count(*) FROM bench.customers), 1) AS wssse FROM ML.EVALUATE(MODEL bench.segments);
