-- gold.dim_time: one row per hour in which something happened (UTC).
--
-- time_id is the hour in digits: 2019100108 is 2019-10-01, 08:00 to 08:59. The facts compute the same number from
-- their own time, so they need no join to get it.

CREATE OR REPLACE TABLE gold.dim_time
COMMENT 'One row per hour with events, UTC; time_id is YYYYMMDDHH'
AS
WITH hours AS (
    SELECT DISTINCT event_date, event_hour
    FROM silver.events_clean
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
    -- ISO 8601: Monday is 1, Sunday is 7.
    CAST((date_part('dow', event_date) + 6) % 7 + 1 AS INT) AS day_of_week,
    to_char(event_date, '%A') AS day_name,
    CAST(date_part('month', event_date) AS INT) AS month,
    CAST(date_part('year', event_date) AS INT) AS year
FROM hours;
