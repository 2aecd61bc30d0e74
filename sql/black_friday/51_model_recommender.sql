-- The recommender: alternating least squares of rank 10 on the four fifths that are not held out, judged on the rest.

CREATE OR REPLACE MODEL black_friday.recommender
OPTIONS (
    model_type = 'matrix_factorization',
    feedback_type = 'explicit',
    user_col = 'user_id',
    item_col = 'product_id',
    rating_col = 'rating',
    num_factors = 10,
    max_iterations = 10,
    l2_reg = 0.1,
    seed = ${seed}
)
AS
SELECT user_id, product_id, rating FROM black_friday.interactions WHERE NOT is_held_out;

CREATE OR REPLACE TABLE black_friday.recommender_metrics
COMMENT 'Measures of the recommender on the interactions that were held out'
AS
SELECT *, sqrt(mean_squared_error) AS rmse
FROM ML.EVALUATE(
    MODEL black_friday.recommender,
    (SELECT user_id, product_id, rating FROM black_friday.interactions WHERE is_held_out)
);

SELECT * FROM black_friday.recommender_metrics;
