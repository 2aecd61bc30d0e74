-- gold.engagement: how many people come each day and what they do. A session counts on the day it starts (UTC).
--
-- Every rate is a quotient of two totals of the day, never an average of averages.

CREATE OR REPLACE TABLE gold.engagement
COMMENT 'Users, sessions and their depth per day, UTC'
AS
WITH sessions AS (
    SELECT
        CAST(session_start AS DATE) AS session_date,
        user_id,
        duration_seconds,
        view_count + cart_count + purchase_count + unknown_count AS events,
        has_purchased
    FROM gold.session_summary
),
days AS (
    SELECT
        session_date,
        COUNT(DISTINCT user_id) AS active_users,
        COUNT(*) AS sessions,
        CAST(SUM(events) AS BIGINT) AS events,
        CAST(SUM(duration_seconds) AS BIGINT) AS duration_seconds,
        COUNT(*) FILTER (WHERE events = 1) AS one_event_sessions,
        COUNT(*) FILTER (WHERE has_purchased) AS purchasing_sessions
    FROM sessions
    GROUP BY session_date
)
SELECT
    session_date,
    active_users,
    sessions,
    events,
    1.0 * sessions / active_users AS sessions_per_user,
    1.0 * events / sessions AS events_per_session,
    1.0 * duration_seconds / sessions AS avg_duration_seconds,
    100.0 * one_event_sessions / sessions AS bounce_percent,
    100.0 * purchasing_sessions / sessions AS conversion_percent
FROM days;

SELECT
    session_date, active_users, sessions, events,
    CAST(events_per_session AS DECIMAL(9, 2)) AS events_per_session,
    CAST(avg_duration_seconds AS BIGINT) AS avg_duration_seconds,
    CAST(bounce_percent AS DECIMAL(9, 2)) AS bounce_percent,
    CAST(conversion_percent AS DECIMAL(9, 2)) AS conversion_percent
FROM gold.engagement
ORDER BY session_date
LIMIT 31;
