-- The query of sql/clickstream/20_silver_events_clean.sql, over the raw files.
CREATE SCHEMA IF NOT EXISTS bench;

CREATE OR REPLACE TABLE bench.clean AS
WITH typed AS (
    SELECT
        COALESCE(try_to_timestamp(event_time), CAST('2019-10-01' AS TIMESTAMP)) AS event_time,
        CASE WHEN event_type IN ('view', 'cart', 'purchase') THEN event_type ELSE 'unknown' END AS event_type,
        COALESCE(CAST(product_id AS VARCHAR), 'unknown_product') AS product_id,
        CAST(
            LEAST(GREATEST(nanvl(COALESCE(TRY_CAST(price AS DOUBLE), 0), 0), 0), 10000)
            AS DECIMAL(10, 2)
        ) AS price,
        COALESCE(TRY_CAST(user_id AS BIGINT), -999999) AS user_id,
        user_session,
        TRY_CAST(category_id AS BIGINT) AS category_id,
        category_code,
        brand
    FROM read_parquet(${source})
),
in_period AS (
    SELECT *
    FROM typed
    WHERE event_time >= CAST('2019-10-01' AS TIMESTAMP)
      AND event_time < CAST('2020-04-30' AS TIMESTAMP) + INTERVAL '1 day'
),
deduplicated AS (
    SELECT *
    FROM in_period
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY event_time, user_id, product_id, event_type, price
        ORDER BY user_session NULLS LAST, category_id NULLS LAST, category_code NULLS LAST, brand NULLS LAST
    ) = 1
)
SELECT
    event_time,
    event_type,
    product_id,
    COALESCE(category_id, -1) AS category_id,
    COALESCE(category_code, 'uncategorized') AS category_code,
    COALESCE(brand, 'unknown_brand') AS brand,
    price,
    user_id,
    COALESCE(user_session, CONCAT('unknown_session_', user_id)) AS user_session,
    CAST(event_time AS DATE) AS event_date,
    CAST(date_part('hour', event_time) AS INT) AS event_hour
FROM deduplicated;
