-- black_friday.segment_profiles: what a segment is like. Segments are ranked by what their customers spend on average.

CREATE OR REPLACE TABLE black_friday.segment_profiles
COMMENT 'One row per segment: size, averages, who is in it'
AS
WITH profiles AS (
    SELECT
        segment,
        COUNT(*) AS customers,
        AVG(frequency) AS average_frequency,
        AVG(monetary) AS average_monetary,
        AVG(average_amount) AS average_amount,
        AVG(distinct_products) AS average_products,
        CAST(SUM(monetary) AS BIGINT) AS revenue,
        100.0 * COUNT(*) FILTER (WHERE gender = 'male') / COUNT(*) AS percent_male,
        100.0 * COUNT(*) FILTER (WHERE is_married) / COUNT(*) AS percent_married,
        100.0 * COUNT(*) FILTER (WHERE city_category = 'A') / COUNT(*) AS percent_city_a
    FROM black_friday.segmented_customers
    GROUP BY segment
)
SELECT
    segment,
    dense_rank() OVER (ORDER BY average_monetary DESC) AS spend_rank,
    customers,
    100.0 * customers / SUM(customers) OVER () AS percent_customers,
    100.0 * revenue / SUM(revenue) OVER () AS percent_revenue,
    average_frequency,
    average_monetary,
    average_amount,
    average_products,
    percent_male,
    percent_married,
    percent_city_a
FROM profiles;

SELECT
    segment, spend_rank, customers, round(percent_customers, 1) AS percent_customers, round(percent_revenue, 1) AS percent_revenue,
    round(average_frequency, 1) AS average_frequency, round(average_monetary, 0) AS average_monetary,
    round(average_amount, 0) AS average_amount, round(percent_male, 1) AS percent_male
FROM black_friday.segment_profiles
ORDER BY spend_rank;

ASSERT (SELECT SUM(customers) FROM black_friday.segment_profiles) = (SELECT COUNT(*) FROM black_friday.customers)
    AS 'every customer is in one segment';
