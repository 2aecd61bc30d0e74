SELECT count(*) AS users, sum(depth) AS depths, count(*) FILTER (WHERE depth = 3) AS buyers
FROM (
    SELECT user_id, funnel(event_time, INTERVAL '1' HOUR, event_type = 'view', event_type = 'cart', event_type = 'purchase') AS depth
    FROM ${events}
    GROUP BY user_id
);
