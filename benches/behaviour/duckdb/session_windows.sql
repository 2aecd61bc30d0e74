SELECT count(*) AS sessions, sum(events) AS events, sum(views) AS views, CAST(sum(spent) AS DECIMAL(18, 2)) AS spent
FROM (
    SELECT user_id, session, min(event_time), max(event_time), count(*) AS events,
        count(*) FILTER (WHERE event_type = 'view') AS views, sum(price) FILTER (WHERE event_type = 'purchase') AS spent
    FROM (
        SELECT *, sum(begins) OVER (PARTITION BY user_id ORDER BY event_time) AS session
        FROM (
            SELECT user_id, event_time, event_type, price,
                CASE WHEN event_time - lag(event_time) OVER (PARTITION BY user_id ORDER BY event_time) <= INTERVAL '30' MINUTE THEN 0 ELSE 1 END AS begins
            FROM events
        )
    )
    GROUP BY user_id, session
)
