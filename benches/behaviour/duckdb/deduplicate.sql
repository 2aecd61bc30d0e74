SELECT count(*) AS rows, sum(product_id) AS products, count(user_session) AS with_session
FROM (
    SELECT event_time, user_id, product_id, event_type, price, min(user_session) AS user_session, first(category_id) AS category_id
    FROM events
    GROUP BY event_time, user_id, product_id, event_type, price
)
