-- The duplicates are dropped by a window over their key: of the exact ways to write it in DuckDB the fastest but one, and
-- the only one that keeps whole rows (min() of each column is 8 % faster and mixes the columns of several copies).
WITH typed AS (
    SELECT
        coalesce(try_strptime(event_time, '%Y-%m-%d %H:%M:%S UTC'), TIMESTAMP '2019-10-01') AS event_time,
        CASE WHEN event_type IN ('view', 'cart', 'purchase') THEN event_type ELSE 'unknown' END AS event_type,
        -- The number is the key of the deduplication and becomes text after it: cheaper.
        product_id,
        least(greatest(coalesce(price, 0), 0), 10000)::DECIMAL(10, 2) AS price,
        coalesce(user_id, -999999) AS user_id,
        user_session, category_id, category_code, brand
    FROM raw
)
SELECT
    event_time, event_type,
    coalesce(product_id::VARCHAR, 'unknown_product') AS product_id,
    coalesce(category_id, -1) AS category_id,
    coalesce(category_code, 'uncategorized') AS category_code,
    coalesce(brand, 'unknown_brand') AS brand,
    price, user_id,
    coalesce(user_session, 'unknown_session_' || user_id) AS user_session,
    event_time::DATE AS event_date,
    hour(event_time)::INTEGER AS event_hour
FROM typed
WHERE event_time >= TIMESTAMP '2019-10-01' AND event_time < TIMESTAMP '2020-05-01'
QUALIFY row_number() OVER (
    PARTITION BY event_time, user_id, product_id, event_type, price
    ORDER BY user_session NULLS LAST, category_id NULLS LAST, category_code NULLS LAST, brand NULLS LAST
) = 1
