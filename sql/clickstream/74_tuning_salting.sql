-- Tuning 4 of 6: salting of the `view` events, which are nearly all.
--
-- Grouped by event_type, one task would get nearly every row. A notebook appends a random number to the key, aggregates, and aggregates again without it.
-- Here every task aggregates its own rows first, and only groups are shuffled.

-- By hand: two aggregations over salted keys.
EXPLAIN ANALYZE
SELECT event_type, SUM(events) AS events, SUM(revenue) AS revenue
FROM (
    SELECT event_type, salted, COUNT(*) AS events, SUM(price) AS revenue
    FROM (SELECT event_type, price, salt(16) AS salted FROM silver.events_clean)
    GROUP BY event_type, salted
)
GROUP BY event_type;

-- The same query as anybody writes it.
EXPLAIN ANALYZE
SELECT event_type, COUNT(*) AS events, SUM(price) AS revenue
FROM silver.events_clean
GROUP BY event_type;
