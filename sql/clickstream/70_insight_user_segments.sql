-- gold.user_segments: the user segments and their share of the revenue.
--
-- The stand-in user of all events without a user is no person: it gets a line of its own instead of passing for a very
-- active customer. So the shares still add up to 100.

CREATE OR REPLACE TABLE gold.user_segments
COMMENT 'Users, sessions, purchases and revenue per segment'
AS
WITH segments AS (
    SELECT
        CASE WHEN user_id = -999999 THEN 'Anonymous' ELSE user_segment END AS user_segment,
        COUNT(*) AS users,
        CAST(SUM(total_sessions) AS BIGINT) AS sessions,
        CAST(SUM(total_purchases) AS BIGINT) AS purchases,
        CAST(SUM(total_spent) AS DECIMAL(18, 2)) AS revenue
    FROM gold.dim_users
    GROUP BY 1
)
SELECT
    user_segment,
    users,
    sessions,
    purchases,
    revenue,
    100.0 * revenue / NULLIF(SUM(revenue) OVER (), 0) AS revenue_percent,
    CAST(revenue / users AS DECIMAL(18, 2)) AS revenue_per_user
FROM segments;

SELECT
    user_segment, users, sessions, purchases, revenue,
    CAST(revenue_percent AS DECIMAL(9, 2)) AS revenue_percent, revenue_per_user
FROM gold.user_segments
ORDER BY revenue DESC, user_segment;
