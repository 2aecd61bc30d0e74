-- gold.session_duration: do longer sessions buy more often?
--
-- A session id that is used for days is usually a browser tab left open, and the artificial sessions of events without
-- a session can span the whole period: both are in the last group.

CREATE OR REPLACE TABLE gold.session_duration
COMMENT 'Conversion and revenue by length of the session'
AS
WITH sessions AS (
    SELECT
        CASE
            WHEN duration_seconds = 0 THEN 1
            WHEN duration_seconds < 60 THEN 2
            WHEN duration_seconds < 300 THEN 3
            WHEN duration_seconds < 900 THEN 4
            WHEN duration_seconds < 1800 THEN 5
            WHEN duration_seconds < 3600 THEN 6
            ELSE 7
        END AS duration_group,
        has_purchased,
        total_spent
    FROM gold.session_summary
),
groups AS (
    SELECT
        duration_group,
        COUNT(*) AS sessions,
        COUNT(*) FILTER (WHERE has_purchased) AS purchasing_sessions,
        CAST(SUM(total_spent) AS DECIMAL(18, 2)) AS revenue
    FROM sessions
    GROUP BY duration_group
)
SELECT
    CAST(duration_group AS BIGINT) AS duration_group,
    CASE duration_group
        WHEN 1 THEN 'a single moment'
        WHEN 2 THEN 'under 1 minute'
        WHEN 3 THEN '1 to 5 minutes'
        WHEN 4 THEN '5 to 15 minutes'
        WHEN 5 THEN '15 to 30 minutes'
        WHEN 6 THEN '30 to 60 minutes'
        ELSE '1 hour and more'
    END AS duration,
    sessions,
    purchasing_sessions,
    revenue,
    100.0 * purchasing_sessions / sessions AS conversion_percent
FROM groups;

SELECT duration, sessions, purchasing_sessions, CAST(conversion_percent AS DECIMAL(9, 2)) AS conversion_percent, revenue
FROM gold.session_duration
ORDER BY duration_group;
