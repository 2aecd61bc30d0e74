WITH typed AS (
    SELECT
        coalesce(try_to_timestamp(event_time, "yyyy-MM-dd HH:mm:ss 'UTC'"), TIMESTAMP '2019-10-01 00:00:00') AS event_time,
        CASE WHEN event_type IN ('view', 'cart', 'purchase') THEN event_type ELSE 'unknown' END AS event_type,
        product_id,
        CAST(least(greatest(coalesce(price, 0), 0), 10000) AS DECIMAL(10, 2)) AS price,
        coalesce(user_id, -999999) AS user_id,
        user_session, category_id, category_code, brand
    FROM raw
),
numbered AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY event_time, user_id, product_id, event_type, price
            ORDER BY user_session NULLS LAST, category_id NULLS LAST, category_code NULLS LAST, brand NULLS LAST
        ) AS copy
    FROM typed
    WHERE event_time >= TIMESTAMP '2019-10-01 00:00:00' AND event_time < TIMESTAMP '2020-05-01 00:00:00'
)
SELECT
    event_time, event_type,
    coalesce(CAST(product_id AS STRING), 'unknown_product') AS product_id,
    coalesce(category_id, -1) AS category_id,
    coalesce(category_code, 'uncategorized') AS category_code,
    coalesce(brand, 'unknown_brand') AS brand,
    price, user_id,
    coalesce(user_session, concat('unknown_session_', user_id)) AS user_session,
    CAST(event_time AS DATE) AS event_date,
    hour(event_time) AS event_hour
FROM numbered
WHERE copy = 1
