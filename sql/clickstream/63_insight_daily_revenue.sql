-- gold.daily_revenue: events and revenue per day, and the revenue so far.

CREATE OR REPLACE TABLE gold.daily_revenue
COMMENT 'Events and revenue per day, UTC, with the running total'
AS
WITH days AS (
    SELECT
        event_date,
        CAST(SUM(events) AS BIGINT) AS events,
        CAST(SUM(purchases) AS BIGINT) AS purchases,
        CAST(SUM(revenue) AS DECIMAL(18, 2)) AS revenue
    FROM gold.hourly_revenue
    GROUP BY event_date
)
SELECT
    event_date,
    events,
    purchases,
    revenue,
    CAST(SUM(revenue) OVER (ORDER BY event_date) AS DECIMAL(18, 2)) AS revenue_so_far
FROM days;

SELECT event_date, to_char(event_date, '%A') AS day_name, events, purchases, revenue, revenue_so_far
FROM gold.daily_revenue
ORDER BY event_date
LIMIT 31;
