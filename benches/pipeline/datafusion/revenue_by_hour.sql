SELECT event_date, event_hour, COUNT(*) AS purchases, CAST(SUM(price) AS DECIMAL(18, 2)) AS revenue
FROM fact JOIN dim_time USING (time_id)
WHERE event_type = 'purchase'
GROUP BY event_date, event_hour
