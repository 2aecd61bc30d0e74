SELECT
    user_id,
    count(*) AS total_sessions,
    sum(purchase_count)::BIGINT AS total_purchases,
    sum(total_spent)::DECIMAL(18, 2) AS total_spent,
    CASE
        WHEN total_sessions >= 10 THEN 'Power User'
        WHEN total_sessions >= 5 THEN 'Active User'
        WHEN total_sessions >= 2 THEN 'Occasional User'
        ELSE 'One-time User'
    END AS user_segment
FROM sessions
GROUP BY user_id
