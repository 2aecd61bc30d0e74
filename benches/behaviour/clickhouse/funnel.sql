SELECT count(*) AS users, sum(depth) AS depths, countIf(depth = 3) AS buyers
FROM (
    SELECT user_id, windowFunnel(3600)(toDateTime(event_time), event_type = 'view', event_type = 'cart', event_type = 'purchase') AS depth
    FROM {events}
    GROUP BY user_id
)
