-- gold.session_summary: one row per session of a user.
--
-- A session id alone is not a key: a few are used by more than one user (a shared link, a change of account). The pair
-- (user_id, session_id) is. GROUP BY gives exactly one row per pair; window functions would give one row per event.

CREATE OR REPLACE TABLE gold.session_summary
COMMENT 'One row per (user_id, session_id)'
AS
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
        -- The defaults ('unknown_product', 'uncategorized') count as one value each.
        COUNT(DISTINCT product_id) AS unique_products,
        COUNT(DISTINCT category_code) AS unique_categories
    FROM silver.events_clean
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
    -- Purchases per view. A session without views has no rate and gets 0; has_purchased still tells whether it bought.
    CASE WHEN view_count > 0 THEN CAST(purchase_count AS DOUBLE) / view_count ELSE 0.0 END AS conversion_rate,
    purchase_count > 0 AS has_purchased,
    -- The source gave no usable user: the session belongs to the stand-in user.
    user_id = -999999 AS is_anonymous,
    -- At least one event of the session had no known type.
    unknown_count > 0 AS has_unknown_events
FROM sessions;
