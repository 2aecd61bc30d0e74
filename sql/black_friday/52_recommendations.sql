-- The ten products for every customer, and the ten customers for every product, without what they bought already.

CREATE OR REPLACE TABLE black_friday.products_for_customers
COMMENT 'Ten products for each customer, best first'
AS
SELECT
    user_id,
    row_number() OVER (PARTITION BY user_id ORDER BY predicted_rating DESC, product_id) AS place,
    product_id,
    predicted_rating
FROM ML.RECOMMEND(MODEL black_friday.recommender, STRUCT(10 AS top_k, TRUE AS exclude_seen));

CREATE OR REPLACE TABLE black_friday.customers_for_products
COMMENT 'Ten customers for each product, best first'
AS
SELECT
    product_id,
    row_number() OVER (PARTITION BY product_id ORDER BY predicted_rating DESC, user_id) AS place,
    user_id,
    predicted_rating
FROM ML.RECOMMEND(MODEL black_friday.recommender, STRUCT(10 AS top_k, TRUE AS exclude_seen, TRUE AS for_items));

ASSERT 0 = (
    SELECT COUNT(*)
    FROM black_friday.products_for_customers AS r
    LEFT SEMI JOIN black_friday.interactions AS i
        ON r.user_id = i.user_id AND r.product_id = i.product_id AND NOT i.is_held_out
) AS 'nothing is recommended that the model has seen';
ASSERT (SELECT MAX(place) <= 10 FROM black_friday.products_for_customers)
    AS 'a customer gets at most ten products';

SELECT * FROM black_friday.products_for_customers ORDER BY user_id, place LIMIT 10;
