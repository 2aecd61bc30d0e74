WITH users AS (
    SELECT
        user_id,
        count(*) AS total_sessions,
        sum(purchase_count) AS total_purchases,
        CAST(sum(total_spent) AS DECIMAL(18, 2)) AS total_spent
    FROM sessions
    GROUP BY user_id
)
SELECT
    *,
    CASE
        WHEN total_sessions >= 10 THEN 'Power User'
        WHEN total_sessions >= 5 THEN 'Active User'
        WHEN total_sessions >= 2 THEN 'Occasional User'
        ELSE 'One-time User'
    END AS user_segment
FROM users
