-- black_friday.customers: who they are, and how often, for how much and how widely they bought.
--
-- The data have no dates, so there is no recency: frequency, monetary value, average and number of products describe a customer.

CREATE OR REPLACE TABLE black_friday.customers
COMMENT 'One row per customer: frequency, monetary value, breadth'
AS
SELECT
    user_id,
    MIN(gender) AS gender,
    MIN(age_group) AS age_group,
    MIN(city_category) AS city_category,
    MIN(occupation) AS occupation,
    BOOL_OR(is_married) AS is_married,
    COUNT(*) AS frequency,
    SUM(amount) AS monetary,
    CAST(SUM(amount) AS DOUBLE) / COUNT(*) AS average_amount,
    COUNT(DISTINCT product_id) AS distinct_products
FROM black_friday.sales
GROUP BY user_id;
