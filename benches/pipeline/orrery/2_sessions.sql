-- The query of sql/clickstream/30_gold_session_summary.sql.
CREATE OR REPLACE TABLE bench.sessions AS
WITH sessions AS (
    SELECT
        user_id,
        user_session AS session_id,
        MIN(event_time) AS session_start,
        MAX(event_time) AS session_end,
        COUNT(*) FILTER (WHERE event_type = 'view') AS view_count,
        COUNT(*) FILTER (WHERE event_type = 'cart') AS cart_count,
        COUNT(*) FILTER (WHERE event_type = 'purchase') AS purchase_count,
        COUNT(*) FILTER (WHERE event_type = 'unknown') AS unknown_count,
        SUM(price) FILTER (WHERE event_type = 'purchase') AS total_spent,
        COUNT(DISTINCT product_id) AS unique_products,
        COUNT(DISTINCT category_code) AS unique_categories
    FROM bench.clean
    GROUP BY user_id, user_session
)
SELECT
    user_id,
    session_id,
    session_start,
    session_end,
    to_unixtime(session_end) - to_unixtime(session_start) AS duration_seconds,
    view_count,
    cart_count,
    purchase_count,
    unknown_count,
    CAST(COALESCE(total_spent, 0) AS DECIMAL(18, 2)) AS total_spent,
    unique_products,
    unique_categories,
    CASE WHEN view_count > 0 THEN CAST(purchase_count AS DOUBLE) / view_count ELSE 0.0 END AS conversion_rate,
    purchase_count > 0 AS has_purchased,
    user_id = -999999 AS is_anonymous,
    unknown_count > 0 AS has_unknown_events
FROM sessions;
