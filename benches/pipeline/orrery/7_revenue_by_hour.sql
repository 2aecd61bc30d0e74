CREATE OR REPLACE TABLE bench.revenue_by_hour AS
SELECT event_date, event_hour, COUNT(*) AS purchases, CAST(SUM(price) AS DECIMAL(18, 2)) AS revenue
FROM bench.fact JOIN bench.dim_time USING (time_id)
WHERE event_type = 'purchase'
GROUP BY event_date, event_hour;
