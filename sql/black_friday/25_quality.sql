-- What the typing did, and the promises that everything after it rests on. The run stops at the first one that does not hold.

CREATE OR REPLACE TABLE black_friday.quality
COMMENT 'Counts of the raw and of the typed sales'
AS
SELECT
    (SELECT COUNT(*) FROM black_friday.bronze_sales) AS raw_rows,
    COUNT(*) AS sales,
    COUNT(DISTINCT user_id) AS customers,
    COUNT(DISTINCT product_id) AS products,
    COUNT(*) FILTER (WHERE category_2 = 0) AS without_category_2,
    COUNT(*) FILTER (WHERE category_3 = 0) AS without_category_3,
    MIN(amount) AS least_amount,
    MAX(amount) AS greatest_amount,
    SUM(amount) AS total_amount
FROM black_friday.sales;

SELECT * FROM black_friday.quality;

ASSERT (SELECT sales FROM black_friday.quality) > 0
    AS 'there are sales';
ASSERT (SELECT raw_rows - sales FROM black_friday.quality) * 100 <= (SELECT raw_rows FROM black_friday.quality)
    AS 'at most one raw row in a hundred is no sale';
ASSERT 0 = (SELECT COUNT(*) FROM black_friday.sales WHERE amount < 0)
    AS 'no amount is negative';
ASSERT 0 = (SELECT COUNT(*) FROM (SELECT user_id FROM black_friday.sales GROUP BY user_id HAVING COUNT(DISTINCT gender) > 1))
    AS 'a customer has one gender';
ASSERT 0 = (SELECT COUNT(*) FROM (SELECT user_id FROM black_friday.sales GROUP BY user_id HAVING COUNT(DISTINCT age_group) > 1))
    AS 'a customer has one age group';
ASSERT 0 = (SELECT COUNT(*) FROM (SELECT user_id, product_id FROM black_friday.sales GROUP BY user_id, product_id HAVING COUNT(*) > 1))
    AS 'a customer buys a product once';
