SELECT
    hash(event_time, user_id, product_id, event_type, price) AS event_id,
    user_id,
    product_id,
    user_session AS session_id,
    (year(event_date) * 1000000 + month(event_date) * 10000 + day(event_date) * 100 + event_hour)::BIGINT AS time_id,
    event_type,
    price,
    event_time AS event_timestamp
FROM clean
