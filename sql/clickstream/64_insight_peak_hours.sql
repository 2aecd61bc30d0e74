-- gold.peak_hours: the 24 hours of the day (UTC) over the whole period, the one with most purchases first.

CREATE OR REPLACE TABLE gold.peak_hours
COMMENT 'Hours of the day, UTC, ranked by purchases'
AS
WITH hours AS (
    SELECT
        event_hour,
        CAST(SUM(events) AS BIGINT) AS events,
        CAST(SUM(views) AS BIGINT) AS views,
        CAST(SUM(purchases) AS BIGINT) AS purchases,
        CAST(SUM(revenue) AS DECIMAL(18, 2)) AS revenue
    FROM gold.hourly_revenue
    GROUP BY event_hour
)
SELECT
    CAST(ROW_NUMBER() OVER (ORDER BY purchases DESC, event_hour) AS BIGINT) AS rank,
    event_hour,
    events,
    views,
    purchases,
    revenue,
    100.0 * purchases / NULLIF(views, 0) AS purchases_per_100_views
FROM hours;

SELECT rank, event_hour, events, purchases, revenue, CAST(purchases_per_100_views AS DECIMAL(9, 2)) AS purchases_per_100_views
FROM gold.peak_hours
ORDER BY rank;
