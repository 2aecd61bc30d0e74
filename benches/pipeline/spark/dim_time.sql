SELECT
    CAST(year(event_date) * 1000000 + month(event_date) * 10000 + day(event_date) * 100 + event_hour AS BIGINT) AS time_id,
    event_date,
    event_hour,
    weekday(event_date) + 1 AS day_of_week,
    date_format(event_date, 'EEEE') AS day_name,
    month(event_date) AS month,
    year(event_date) AS year
FROM (SELECT DISTINCT event_date, event_hour FROM clean)
