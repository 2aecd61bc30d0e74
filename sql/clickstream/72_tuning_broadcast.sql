-- Tuning 2 of 6: a broadcast join to a small dimension. Revenue by brand.
--
-- A notebook says broadcast(dim_products), so that the large side is not shuffled. Here the size of the table decides, and the third query needs no hint to
-- get the plan of the first (mode=CollectLeft). The second shows what it would cost otherwise: both sides shuffled by the key (mode=Partitioned).

-- By hand.
EXPLAIN ANALYZE
SELECT /*+ BROADCAST(p) */ p.brand, SUM(f.price) AS revenue
FROM gold.fact_events AS f JOIN gold.dim_products AS p ON f.product_id = p.product_id
WHERE f.event_type = 'purchase' GROUP BY p.brand;

-- Without.
EXPLAIN ANALYZE
SELECT /*+ SHUFFLE_HASH(p) */ p.brand, SUM(f.price) AS revenue
FROM gold.fact_events AS f JOIN gold.dim_products AS p ON f.product_id = p.product_id
WHERE f.event_type = 'purchase' GROUP BY p.brand;

-- The same query as anybody writes it.
EXPLAIN ANALYZE
SELECT p.brand, SUM(f.price) AS revenue
FROM gold.fact_events AS f JOIN gold.dim_products AS p ON f.product_id = p.product_id
WHERE f.event_type = 'purchase' GROUP BY p.brand;
