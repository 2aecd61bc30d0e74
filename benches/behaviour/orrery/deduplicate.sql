SELECT count(*) AS rows, sum(product_id) AS products, count(user_session) AS with_session
FROM (
    SELECT * FROM ${events}
    QUALIFY row_number() OVER (PARTITION BY event_time, user_id, product_id, event_type, price ORDER BY user_session) = 1
);
