-- gold.fact_events: one row per clean event, with the keys of the dimensions.
--
-- event_id is a 64-bit hash of the five columns that make an event unique. Unlike a running number it is the same on
-- every rerun, on any number of threads or machines. Two events could in theory share a hash (about one chance in
-- twenty thousand for 42 million events); 50_checks.sql proves for each run that none do.

CREATE OR REPLACE TABLE gold.fact_events
COMMENT 'One row per clean event; user_id, product_id, (session_id, user_id) and time_id point to the dimensions'
AS
SELECT
    xxhash64(event_time, user_id, product_id, event_type, price) AS event_id,
    user_id,
    product_id,
    user_session AS session_id,
    CAST(
        date_part('year', event_date) * 1000000
        + date_part('month', event_date) * 10000
        + date_part('day', event_date) * 100
        + event_hour
        AS BIGINT
    ) AS time_id,
    event_type,
    price,
    event_time AS event_timestamp
FROM silver.events_clean;
