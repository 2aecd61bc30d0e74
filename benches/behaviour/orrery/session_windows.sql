SELECT count(*) AS sessions, sum(events) AS events, sum(views) AS views, CAST(sum(spent) AS DECIMAL(18, 2)) AS spent
FROM (
    SELECT user_id, session_window(event_time, INTERVAL '30' MINUTE) AS session, count(*) AS events,
        count(*) FILTER (WHERE event_type = 'view') AS views, sum(price) FILTER (WHERE event_type = 'purchase') AS spent
    FROM ${events}
    GROUP BY user_id, session_window(event_time, INTERVAL '30' MINUTE)
);
