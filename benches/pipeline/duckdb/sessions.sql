SELECT
    user_id,
    user_session AS session_id,
    min(event_time) AS session_start,
    max(event_time) AS session_end,
    date_diff('second', session_start, session_end) AS duration_seconds,
    count(*) FILTER (event_type = 'view') AS view_count,
    count(*) FILTER (event_type = 'cart') AS cart_count,
    count(*) FILTER (event_type = 'purchase') AS purchase_count,
    count(*) FILTER (event_type = 'unknown') AS unknown_count,
    coalesce(sum(price) FILTER (event_type = 'purchase'), 0)::DECIMAL(18, 2) AS total_spent,
    count(DISTINCT product_id) AS unique_products,
    count(DISTINCT category_code) AS unique_categories,
    CASE WHEN view_count > 0 THEN purchase_count::DOUBLE / view_count ELSE 0 END AS conversion_rate,
    purchase_count > 0 AS has_purchased,
    user_id = -999999 AS is_anonymous,
    unknown_count > 0 AS has_unknown_events
FROM clean
GROUP BY user_id, user_session
