-- Typed events and one row per customer, for all engines alike.
COPY (
    SELECT try_to_timestamp(event_time) AS event_time, event_type, CAST(product_id AS BIGINT) AS product_id, CAST(category_id AS BIGINT) AS category_id,
        CAST(price AS DECIMAL(10, 2)) AS price, CAST(user_id AS BIGINT) AS user_id, user_session
    FROM read_parquet(${raw})
    WHERE user_id IS NOT NULL AND product_id IS NOT NULL AND try_to_timestamp(event_time) IS NOT NULL
) TO ${events} STORED AS PARQUET;

COPY (
    SELECT customer, xxhash64(customer) % 1000 AS score
    FROM (SELECT DISTINCT user_id AS customer FROM read_parquet(${events}) UNION SELECT 0)
) TO ${people} STORED AS PARQUET;
