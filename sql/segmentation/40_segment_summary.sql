-- segmentation.user_segment_summary: what a segment is like, with a name that a marketing team can use. The names follow rules, so that a rerun on other
-- data gives other names and never wrong ones.

CREATE OR REPLACE TABLE segmentation.user_segment_summary
COMMENT 'One row per segment: size, behaviour, revenue, business name'
AS
WITH summary AS (
    SELECT
        segment,
        u.cluster AS segment_cluster,
        MIN(spend_rank) AS spend_rank,
        COUNT(*) AS users,
        CAST(SUM(sessions) AS DOUBLE) / COUNT(*) AS average_sessions,
        CAST(SUM(views) AS DOUBLE) / COUNT(*) AS average_views,
        CAST(SUM(purchases) AS DOUBLE) / COUNT(*) AS average_purchases,
        CAST(SUM(total_spent) / COUNT(*) AS DECIMAL(18, 2)) AS average_spent,
        100.0 * COUNT(*) FILTER (WHERE purchases > 0) / COUNT(*) AS percent_buyers,
        CAST(SUM(total_spent) AS DECIMAL(18, 2)) AS revenue
    FROM segmentation.user_segments AS u
    GROUP BY segment, u.cluster
)
SELECT
    segment,
    segment_cluster,
    spend_rank,
    CASE
        WHEN percent_buyers >= 50 AND average_sessions >= 2 THEN 'Loyal buyers'
        WHEN percent_buyers >= 50 THEN 'One-off buyers'
        WHEN percent_buyers >= 1 THEN 'Occasional buyers'
        WHEN average_sessions >= 2 THEN 'Returning browsers'
        ELSE 'Passers-by'
    END AS business_name,
    users,
    100.0 * users / SUM(users) OVER () AS percent_users,
    average_sessions,
    average_views,
    average_purchases,
    average_spent,
    percent_buyers,
    revenue,
    100.0 * revenue / NULLIF(SUM(revenue) OVER (), 0) AS percent_revenue
FROM summary;

SELECT
    segment, business_name, users, round(percent_users, 1) AS percent_users, round(average_sessions, 2) AS average_sessions,
    round(average_views, 1) AS average_views, round(average_purchases, 2) AS average_purchases, average_spent,
    round(percent_buyers, 1) AS percent_buyers, round(CAST(percent_revenue AS DOUBLE), 1) AS percent_revenue
FROM segmentation.user_segment_summary
ORDER BY spend_rank DESC;
