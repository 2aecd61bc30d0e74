-- silver.events_clean: one row per real event, typed, without nulls.
--
-- TRY_CAST and try_to_timestamp turn an unusable value into NULL and so into the column's default; no input value can
-- stop the pipeline. 25_silver_data_quality.sql counts how often each rule was applied.

CREATE OR REPLACE TABLE silver.events_clean
COMMENT 'One row per distinct event inside the reporting period; no column is ever null'
AS
WITH typed AS (
    SELECT
        COALESCE(try_to_timestamp(event_time), CAST(${first_day} AS TIMESTAMP)) AS event_time,

        -- Anything but the three known types becomes 'unknown', not only a missing one: the counts per type
        -- of a session then always add up to its events.
        CASE WHEN event_type IN ('view', 'cart', 'purchase') THEN event_type ELSE 'unknown' END AS event_type,

        -- Text, because its default is text.
        COALESCE(CAST(product_id AS VARCHAR), 'unknown_product') AS product_id,

        -- Missing, not a number or negative: 0. As DECIMAL from here on, so that sums of money are exact.
        -- The limits come before the CAST: a huge price is capped, it does not overflow.
        CAST(
            LEAST(GREATEST(nanvl(COALESCE(TRY_CAST(price AS DOUBLE), 0), 0), 0), ${price_cap})
            AS DECIMAL(10, 2)
        ) AS price,

        COALESCE(TRY_CAST(user_id AS BIGINT), -999999) AS user_id,

        -- Their defaults are filled in after the deduplication, which prefers known values.
        user_session,
        TRY_CAST(category_id AS BIGINT) AS category_id,
        category_code,
        brand
    FROM bronze.events
),

in_period AS (
    SELECT *
    FROM typed
    WHERE event_time >= CAST(${first_day} AS TIMESTAMP)
      AND event_time < CAST(${last_day} AS TIMESTAMP) + INTERVAL '1 day'
),

-- The same user cannot do the same thing with the same product twice in one second: such rows were delivered twice.
-- The copies may differ in the other columns. All of those are in the ORDER BY, so the choice does not depend on
-- the order of the input, and as NULLs sort last, a copy with a known value wins.
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
    -- One artificial session per user, so that the sessions of different users never melt into one.
    COALESCE(user_session, CONCAT('unknown_session_', user_id)) AS user_session,
    CAST(event_time AS DATE) AS event_date,
    CAST(date_part('hour', event_time) AS INT) AS event_hour
FROM deduplicated;
