SELECT count(*) AS events, sum(session) AS numbers, max(session) AS most
FROM (
    SELECT session_index(event_time, INTERVAL '30' MINUTE) OVER (PARTITION BY user_id ORDER BY event_time) AS session
    FROM ${events}
);
