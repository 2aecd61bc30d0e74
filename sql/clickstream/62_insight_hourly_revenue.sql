-- gold.hourly_revenue: events and revenue of every hour with events (UTC).
--
-- The facts are added up per time_id first and joined with the few hours after that.

CREATE OR REPLACE TABLE gold.hourly_revenue
COMMENT 'Events and revenue per hour, UTC'
AS
WITH hours AS (
    SELECT
        time_id,
        COUNT(*) AS events,
        COUNT(*) FILTER (WHERE event_type = 'view') AS views,
        COUNT(*) FILTER (WHERE event_type = 'cart') AS carts,
        COUNT(*) FILTER (WHERE event_type = 'purchase') AS purchases,
        SUM(price) FILTER (WHERE event_type = 'purchase') AS revenue
    FROM gold.fact_events
    GROUP BY time_id
)
SELECT
    hours.time_id,
    dim_time.event_date,
    dim_time.event_hour,
    hours.events,
    hours.views,
    hours.carts,
    hours.purchases,
    CAST(COALESCE(hours.revenue, 0) AS DECIMAL(18, 2)) AS revenue
FROM hours
JOIN gold.dim_time ON dim_time.time_id = hours.time_id;

-- The ten best hours.
SELECT event_date, event_hour, purchases, revenue
FROM gold.hourly_revenue
ORDER BY revenue DESC, event_date, event_hour
LIMIT 10;
