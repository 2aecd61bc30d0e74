WITH sessions AS (
    SELECT
        user_id,
        user_session AS session_id,
        min(event_time) AS session_start,
        max(event_time) AS session_end,
        count_if(event_type = 'view') AS view_count,
        count_if(event_type = 'cart') AS cart_count,
        count_if(event_type = 'purchase') AS purchase_count,
        count_if(event_type = 'unknown') AS unknown_count,
        sum(CASE WHEN event_type = 'purchase' THEN price END) AS total_spent,
        count(DISTINCT product_id) AS unique_products,
        count(DISTINCT category_code) AS unique_categories
    FROM clean
    GROUP BY user_id, user_session
)
SELECT
    user_id, session_id, session_start, session_end,
    unix_timestamp(session_end) - unix_timestamp(session_start) AS duration_seconds,
    view_count, cart_count, purchase_count, unknown_count,
    CAST(coalesce(total_spent, 0) AS DECIMAL(18, 2)) AS total_spent,
    unique_products, unique_categories,
    CASE WHEN view_count > 0 THEN CAST(purchase_count AS DOUBLE) / view_count ELSE CAST(0 AS DOUBLE) END AS conversion_rate,
    purchase_count > 0 AS has_purchased,
    user_id = -999999 AS is_anonymous,
    unknown_count > 0 AS has_unknown_events
FROM sessions
