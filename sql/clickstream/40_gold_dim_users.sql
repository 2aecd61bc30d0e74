-- gold.dim_users: one row per user, and the segment by number of sessions.
--
-- Built from the sessions, not from the events: a session belongs to exactly one user there, so adding up sessions is
-- exact and reads a fraction of the rows. User -999999 stands for all events without a usable user.

CREATE OR REPLACE TABLE gold.dim_users
COMMENT 'One row per user_id; -999999 stands for all events without a user'
AS
WITH users AS (
    SELECT
        user_id,
        COUNT(*) AS total_sessions,
        CAST(SUM(purchase_count) AS BIGINT) AS total_purchases,
        CAST(SUM(total_spent) AS DECIMAL(18, 2)) AS total_spent
    FROM gold.session_summary
    GROUP BY user_id
)
SELECT
    user_id,
    total_sessions,
    total_purchases,
    total_spent,
    CASE
        WHEN total_sessions >= 10 THEN 'Power User'
        WHEN total_sessions >= 5 THEN 'Active User'
        WHEN total_sessions >= 2 THEN 'Occasional User'
        ELSE 'One-time User'
    END AS user_segment
FROM users;
