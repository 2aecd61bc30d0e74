SELECT
    (year(event_date) * 1000000 + month(event_date) * 10000 + day(event_date) * 100 + event_hour)::BIGINT AS time_id,
    event_date,
    event_hour,
    isodow(event_date)::INTEGER AS day_of_week,
    dayname(event_date) AS day_name,
    month(event_date)::INTEGER AS month,
    year(event_date)::INTEGER AS year
FROM (SELECT DISTINCT event_date, event_hour FROM clean)
