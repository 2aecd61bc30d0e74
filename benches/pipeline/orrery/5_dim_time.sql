-- The query of sql/clickstream/43_gold_dim_time.sql.
CREATE OR REPLACE TABLE bench.dim_time AS
WITH hours AS (
    SELECT DISTINCT event_date, event_hour
    FROM bench.clean
)
SELECT
    CAST(
        date_part('year', event_date) * 1000000
        + date_part('month', event_date) * 10000
        + date_part('day', event_date) * 100
        + event_hour
        AS BIGINT
    ) AS time_id,
    event_date,
    event_hour,
    CAST((date_part('dow', event_date) + 6) % 7 + 1 AS INT) AS day_of_week,
    to_char(event_date, '%A') AS day_name,
    CAST(date_part('month', event_date) AS INT) AS month,
    CAST(date_part('year', event_date) AS INT) AS year
FROM hours;
