WITH typed AS (
    SELECT
        COALESCE(to_timestamp_micros(event_time, '%Y-%m-%d %H:%M:%S UTC'), arrow_cast('2019-10-01', 'Timestamp(Microsecond, None)'))
            AS event_time,
        CASE WHEN event_type IN ('view', 'cart', 'purchase') THEN event_type ELSE 'unknown' END AS event_type,
        COALESCE(CAST(product_id AS VARCHAR), 'unknown_product') AS product_id,
        CAST(LEAST(GREATEST(COALESCE(price, 0), 0), 10000) AS DECIMAL(10, 2)) AS price,
        COALESCE(user_id, -999999) AS user_id,
        user_session, category_id, category_code, brand
    FROM raw
),
deduplicated AS (
    SELECT *
    FROM typed
    WHERE event_time >= TIMESTAMP '2019-10-01' AND event_time < TIMESTAMP '2020-05-01'
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY event_time, user_id, product_id, event_type, price
        ORDER BY user_session NULLS LAST, category_id NULLS LAST, category_code NULLS LAST, brand NULLS LAST
    ) = 1
)
SELECT
    event_time, event_type, product_id,
    COALESCE(category_id, -1) AS category_id,
    COALESCE(category_code, 'uncategorized') AS category_code,
    COALESCE(brand, 'unknown_brand') AS brand,
    price, user_id,
    COALESCE(user_session, CONCAT('unknown_session_', user_id)) AS user_session,
    CAST(event_time AS DATE) AS event_date,
    CAST(date_part('hour', event_time) AS INT) AS event_hour
FROM deduplicated
