CREATE SCHEMA IF NOT EXISTS bench;
CREATE OR REPLACE TABLE bench.ratings AS SELECT * FROM read_parquet(${ratings});
-- measured
CREATE OR REPLACE MODEL bench.implicit
OPTIONS (model_type = 'matrix_factorization', feedback_type = 'implicit', user_col = 'user_id', item_col = 'product_id', rating_col = 'rating', num_factors = ${factors}, max_iterations = 10, l2_reg = 0.1, reg_scaling = 'flat', seed = 42)
AS SELECT user_id, product_id, rating FROM bench.ratings WHERE NOT is_held_out;
