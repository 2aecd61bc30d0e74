-- silver.data_quality: what the cleaning found and did, as a small report of (topic, item, rule, row_count, percent).
--
--     volume    raw rows, what was dropped and why, clean rows; percent of the raw rows
--     null      per column: values that were missing in the source; percent of the raw rows
--     invalid   per column: values that were there but not usable; percent of the raw rows
--     price     clean events by price; percent of the clean rows

-- One pass over the raw events and one over the clean ones; the report below only arranges their numbers.
CACHE TABLE raw_profile AS
WITH parsed AS (
    SELECT
        *,
        try_to_timestamp(event_time) AS parsed_time,
        TRY_CAST(price AS DOUBLE) AS parsed_price,
        TRY_CAST(category_id AS BIGINT) AS parsed_category_id,
        TRY_CAST(user_id AS BIGINT) AS parsed_user_id
    FROM bronze.events
)
SELECT
    COUNT(*) AS raw_rows,
    COUNT(*) FILTER (
        WHERE parsed_time < CAST(${first_day} AS TIMESTAMP)
           OR parsed_time >= CAST(${last_day} AS TIMESTAMP) + INTERVAL '1 day'
    ) AS outside_period,
    COUNT(*) - COUNT(event_time) AS event_time_null,
    COUNT(*) - COUNT(event_type) AS event_type_null,
    COUNT(*) - COUNT(product_id) AS product_id_null,
    COUNT(*) - COUNT(category_id) AS category_id_null,
    COUNT(*) - COUNT(category_code) AS category_code_null,
    COUNT(*) - COUNT(brand) AS brand_null,
    COUNT(*) - COUNT(price) AS price_null,
    COUNT(*) - COUNT(user_id) AS user_id_null,
    COUNT(*) - COUNT(user_session) AS user_session_null,
    COUNT(event_time) - COUNT(parsed_time) AS event_time_invalid,
    COUNT(*) FILTER (WHERE event_type NOT IN ('view', 'cart', 'purchase')) AS event_type_invalid,
    COUNT(category_id) - COUNT(parsed_category_id) AS category_id_invalid,
    COUNT(user_id) - COUNT(parsed_user_id) AS user_id_invalid,
    COUNT(price) - COUNT(parsed_price) + COUNT(*) FILTER (WHERE isnan(parsed_price)) AS price_not_a_number,
    COUNT(*) FILTER (WHERE parsed_price < 0) AS price_negative,
    COUNT(*) FILTER (WHERE parsed_price > ${price_cap} AND NOT isnan(parsed_price)) AS price_too_high
FROM parsed;

CACHE TABLE clean_profile AS
SELECT
    COUNT(*) AS clean_rows,
    COUNT(*) FILTER (WHERE price = 0) AS price_0,
    COUNT(*) FILTER (WHERE price > 0 AND price < 10) AS price_under_10,
    COUNT(*) FILTER (WHERE price >= 10 AND price < 50) AS price_under_50,
    COUNT(*) FILTER (WHERE price >= 50 AND price < 100) AS price_under_100,
    COUNT(*) FILTER (WHERE price >= 100 AND price < 500) AS price_under_500,
    COUNT(*) FILTER (WHERE price >= 500 AND price < 1000) AS price_under_1000,
    COUNT(*) FILTER (WHERE price >= 1000) AS price_1000_and_more
FROM silver.events_clean;

CREATE OR REPLACE TABLE silver.data_quality
COMMENT 'What the cleaning found and did: counts per rule, and the clean events by price'
AS
WITH report AS (
    SELECT 1 AS line, 'volume' AS topic, 'raw rows' AS item, 'as delivered' AS rule, raw_rows AS row_count FROM raw_profile
    UNION ALL SELECT 2, 'volume', 'outside the period', 'dropped', outside_period FROM raw_profile
    UNION ALL SELECT 3, 'volume', 'duplicates', 'dropped: same time, user, product, type and price',
        raw_rows - outside_period - clean_rows FROM raw_profile CROSS JOIN clean_profile
    UNION ALL SELECT 4, 'volume', 'clean rows', 'kept', clean_rows FROM clean_profile

    UNION ALL SELECT 11, 'null', 'event_time', 'start of the first day', event_time_null FROM raw_profile
    UNION ALL SELECT 12, 'null', 'event_type', 'unknown', event_type_null FROM raw_profile
    UNION ALL SELECT 13, 'null', 'product_id', 'unknown_product', product_id_null FROM raw_profile
    UNION ALL SELECT 14, 'null', 'category_id', '-1', category_id_null FROM raw_profile
    UNION ALL SELECT 15, 'null', 'category_code', 'uncategorized', category_code_null FROM raw_profile
    UNION ALL SELECT 16, 'null', 'brand', 'unknown_brand', brand_null FROM raw_profile
    UNION ALL SELECT 17, 'null', 'price', '0', price_null FROM raw_profile
    UNION ALL SELECT 18, 'null', 'user_id', '-999999', user_id_null FROM raw_profile
    UNION ALL SELECT 19, 'null', 'user_session', 'unknown_session_<user_id>', user_session_null FROM raw_profile

    UNION ALL SELECT 21, 'invalid', 'event_time not a time', 'start of the first day', event_time_invalid FROM raw_profile
    UNION ALL SELECT 22, 'invalid', 'event_type not listed', 'unknown', event_type_invalid FROM raw_profile
    UNION ALL SELECT 23, 'invalid', 'category_id not an integer', '-1', category_id_invalid FROM raw_profile
    UNION ALL SELECT 24, 'invalid', 'price not a number', '0', price_not_a_number FROM raw_profile
    UNION ALL SELECT 25, 'invalid', 'price negative', '0', price_negative FROM raw_profile
    UNION ALL SELECT 26, 'invalid', 'price too high', 'lowered to the cap', price_too_high FROM raw_profile
    UNION ALL SELECT 27, 'invalid', 'user_id not an integer', '-999999', user_id_invalid FROM raw_profile

    UNION ALL SELECT 31, 'price', '0', 'unknown or free', price_0 FROM clean_profile
    UNION ALL SELECT 32, 'price', '0.01 to 9.99', '', price_under_10 FROM clean_profile
    UNION ALL SELECT 33, 'price', '10.00 to 49.99', '', price_under_50 FROM clean_profile
    UNION ALL SELECT 34, 'price', '50.00 to 99.99', '', price_under_100 FROM clean_profile
    UNION ALL SELECT 35, 'price', '100.00 to 499.99', '', price_under_500 FROM clean_profile
    UNION ALL SELECT 36, 'price', '500.00 to 999.99', '', price_under_1000 FROM clean_profile
    UNION ALL SELECT 37, 'price', '1000.00 and more', '', price_1000_and_more FROM clean_profile
)
SELECT
    report.line,
    report.topic,
    report.item,
    report.rule,
    report.row_count,
    -- An empty input has no percentages: NULL, not a division by zero.
    100.0 * report.row_count / NULLIF(
        CASE WHEN report.topic = 'price' THEN clean_profile.clean_rows ELSE raw_profile.raw_rows END, 0
    ) AS percent
FROM report CROSS JOIN raw_profile CROSS JOIN clean_profile;

SELECT topic, item, rule, row_count, CAST(percent AS DECIMAL(9, 2)) AS percent
FROM silver.data_quality
ORDER BY line;
