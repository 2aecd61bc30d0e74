SELECT count(*) AS events, sum(session) AS numbers, max(session) AS most
FROM (
    SELECT sum(begins) OVER (PARTITION BY user_id ORDER BY event_time) AS session
    FROM (
        SELECT user_id, event_time,
            CASE WHEN event_time - lag(event_time) OVER (PARTITION BY user_id ORDER BY event_time) <= INTERVAL '30' MINUTE THEN 0 ELSE 1 END AS begins
        FROM events
    )
)
