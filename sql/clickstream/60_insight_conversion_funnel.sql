-- gold.conversion_funnel: how many sessions and users reach each step of a purchase.
--
-- A session counts for a step when it has at least one event of that step. The steps are not forced to be nested: the
-- shop has a direct way to buy, so a session can purchase without a cart event, and percent_of_previous can pass 100.

CREATE OR REPLACE TABLE gold.conversion_funnel
COMMENT 'Events, sessions and users per step: view, cart, purchase'
AS
WITH steps AS (
    SELECT 1 AS step, 'view' AS event_type, COALESCE(SUM(view_count), 0) AS events,
        COUNT(*) AS sessions, COUNT(DISTINCT user_id) AS users
    FROM gold.session_summary WHERE view_count > 0
    UNION ALL
    SELECT 2, 'cart', COALESCE(SUM(cart_count), 0), COUNT(*), COUNT(DISTINCT user_id)
    FROM gold.session_summary WHERE cart_count > 0
    UNION ALL
    SELECT 3, 'purchase', COALESCE(SUM(purchase_count), 0), COUNT(*), COUNT(DISTINCT user_id)
    FROM gold.session_summary WHERE purchase_count > 0
)
SELECT
    step,
    event_type,
    CAST(events AS BIGINT) AS events,
    sessions,
    users,
    100.0 * sessions / NULLIF(FIRST_VALUE(sessions) OVER (ORDER BY step), 0) AS percent_of_views,
    100.0 * sessions / NULLIF(LAG(sessions) OVER (ORDER BY step), 0) AS percent_of_previous
FROM steps;

SELECT
    event_type, events, sessions, users,
    CAST(percent_of_views AS DECIMAL(9, 2)) AS percent_of_views,
    CAST(percent_of_previous AS DECIMAL(9, 2)) AS percent_of_previous
FROM gold.conversion_funnel
ORDER BY step;
