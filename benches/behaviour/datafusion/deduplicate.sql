SELECT count(*) AS rows, sum(product_id) AS products, count(user_session) AS with_session
FROM (
    SELECT * FROM (
        SELECT *, row_number() OVER (PARTITION BY event_time, user_id, product_id, event_type, price ORDER BY user_session) AS number
        FROM events
    )
    WHERE number = 1
)
