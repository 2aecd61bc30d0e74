-- Tuning 3 of 6: repartition by user before the sessions are aggregated.
--
-- A notebook repartitions by user_id, so that the shuffle of the aggregation happens once and evenly. Here an aggregation that reduces its rows shuffles
-- groups, and one that counts distinct values shuffles rows once: the hint only adds a shuffle of its own.

-- By hand.
EXPLAIN ANALYZE
SELECT user_id, user_session, COUNT(*) AS events, COUNT(DISTINCT product_id) AS products
FROM (SELECT /*+ REPARTITION(user_id) */ user_id, user_session, product_id FROM silver.events_clean)
GROUP BY user_id, user_session;

-- The same query as anybody writes it.
EXPLAIN ANALYZE
SELECT user_id, user_session, COUNT(*) AS events, COUNT(DISTINCT product_id) AS products
FROM silver.events_clean
GROUP BY user_id, user_session;
