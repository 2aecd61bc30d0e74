-- segmentation.user_metrics: what a user does, in numbers. The stand-in user of all events without a user is no person and has no behaviour.
--
-- A few very active users would draw the centres of clusters to themselves; counts and sums enter the model as logarithms, which says "ten times as much"
-- alike at every level.

CREATE OR REPLACE TABLE segmentation.user_metrics
COMMENT 'One row per user: sessions, views, carts, purchases, spending, time'
AS
SELECT
    user_id,
    COUNT(*) AS sessions,
    CAST(SUM(view_count) AS BIGINT) AS views,
    CAST(SUM(cart_count) AS BIGINT) AS carts,
    CAST(SUM(purchase_count) AS BIGINT) AS purchases,
    CAST(SUM(total_spent) AS DECIMAL(18, 2)) AS total_spent,
    CAST(CASE WHEN SUM(purchase_count) > 0 THEN SUM(total_spent) / SUM(purchase_count) ELSE 0 END AS DECIMAL(18, 2)) AS average_order,
    AVG(CAST(unique_products AS DOUBLE)) AS average_products_per_session,
    -- Sums of whole numbers, so that the result does not depend on the order of the rows.
    CAST(SUM(duration_seconds) AS DOUBLE) / COUNT(*) AS average_session_seconds,
    CAST(SUM(purchase_count) AS DOUBLE) / GREATEST(SUM(view_count), 1) AS conversion_rate
FROM gold.session_summary
WHERE user_id <> -999999
GROUP BY user_id;

SUMMARIZE segmentation.user_metrics;
