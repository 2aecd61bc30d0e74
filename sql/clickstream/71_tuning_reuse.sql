-- Tuning 1 of 6: reuse. Two reports over the same purchases.
--
-- A notebook caches what it uses twice. A view is only a name for its query: each of the two reports below reads and filters the events again. A cache is
-- computed once and read by both. Compare bytes and times of the scans.

CREATE OR REPLACE TEMPORARY VIEW purchases AS
SELECT user_id, product_id, price, event_date FROM silver.events_clean WHERE event_type = 'purchase';

-- Without: the whole of the events, twice.
EXPLAIN ANALYZE SELECT event_date, SUM(price) AS revenue FROM purchases GROUP BY event_date;
EXPLAIN ANALYZE SELECT product_id, COUNT(*) AS sold FROM purchases GROUP BY product_id ORDER BY sold DESC, product_id LIMIT 10;

-- With: once; the reports read the few purchases.
CACHE TABLE cached_purchases AS SELECT * FROM purchases;
EXPLAIN ANALYZE SELECT event_date, SUM(price) AS revenue FROM cached_purchases GROUP BY event_date;
EXPLAIN ANALYZE SELECT product_id, COUNT(*) AS sold FROM cached_purchases GROUP BY product_id ORDER BY sold DESC, product_id LIMIT 10;
UNCACHE TABLE cached_purchases;
