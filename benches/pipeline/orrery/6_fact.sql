-- The query of sql/clickstream/45_gold_fact_events.sql.
CREATE OR REPLACE TABLE bench.fact AS
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
FROM bench.clean;
