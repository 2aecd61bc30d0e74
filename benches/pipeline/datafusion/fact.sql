-- DataFusion has no 64-bit hash of several values: a digest of their text is its nearest stable key.
SELECT
    md5(CONCAT_WS('|', CAST(event_time AS VARCHAR), CAST(user_id AS VARCHAR), product_id, event_type, CAST(price AS VARCHAR)))
        AS event_id,
    user_id, product_id, user_session AS session_id,
    CAST(
        date_part('year', event_date) * 1000000 + date_part('month', event_date) * 10000
        + date_part('day', event_date) * 100 + event_hour AS BIGINT
    ) AS time_id,
    event_type, price, event_time AS event_timestamp
FROM clean
