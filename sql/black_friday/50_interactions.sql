-- black_friday.interactions: how strongly a customer is drawn to a product, from 1 to 5.
--
-- Amounts are skewed and depend on the product, so not the amount but its place among all amounts counts: the percentage of sales below it, spread evenly
-- over 1 to 5. A fifth of the pairs is held out, chosen by the ids, so that a rerun holds out the same.

CREATE OR REPLACE TABLE black_friday.interactions
COMMENT 'One row per customer and product: rating from 1 to 5, and whether it is held out'
AS
WITH ranked AS (
    SELECT
        user_id,
        product_id,
        percent_rank() OVER (ORDER BY amount) AS place
    FROM (SELECT user_id, product_id, SUM(amount) AS amount FROM black_friday.sales GROUP BY user_id, product_id)
)
SELECT
    user_id,
    product_id,
    1.0 + 4.0 * place AS rating,
    (user_id * 31 + CAST(substr(product_id, 2) AS BIGINT) / 100) % 5 = 0 AS is_held_out
FROM ranked;

ASSERT (SELECT MIN(rating) >= 1 AND MAX(rating) <= 5 FROM black_friday.interactions)
    AS 'ratings are from 1 to 5';
