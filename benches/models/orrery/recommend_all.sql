CREATE SCHEMA IF NOT EXISTS bench;
CREATE OR REPLACE TABLE bench.ratings AS SELECT * FROM read_parquet(${ratings});
CREATE OR REPLACE MODEL bench.recommender
OPTIONS (model_type = 'matrix_factorization', user_col = 'user_id', item_col = 'product_id', rating_col = 'rating', num_factors = 10, max_iterations = 10, l2_reg = 0.1, seed = 42)
AS SELECT user_id, product_id, rating FROM bench.ratings WHERE NOT is_held_out;
-- measured
SELECT count(*) AS recommendations FROM ML.RECOMMEND(MODEL bench.recommender, STRUCT(10 AS top_k));
