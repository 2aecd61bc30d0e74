-- The query of sql/clickstream/40_gold_dim_users.sql.
CREATE OR REPLACE TABLE bench.dim_users AS
WITH users AS (
    SELECT
        user_id,
        COUNT(*) AS total_sessions,
        CAST(SUM(purchase_count) AS BIGINT) AS total_purchases,
        CAST(SUM(total_spent) AS DECIMAL(18, 2)) AS total_spent
    FROM bench.sessions
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
