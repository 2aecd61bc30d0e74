-- Tuning 5 of 6: filters early. Purchases, which are few, with their sessions.
--
-- A notebook filters before it joins. Here the filter finds its way to the scan from wherever it stands, and what the small side of the join holds
-- filters the scan of the large one.

-- By hand: the filter in the innermost query.
EXPLAIN ANALYZE
SELECT COUNT(*) AS purchases, SUM(s.duration_seconds) AS seconds
FROM (SELECT user_id, session_id FROM gold.fact_events WHERE event_type = 'purchase') AS f
JOIN gold.dim_sessions AS s ON f.session_id = s.session_id AND f.user_id = s.user_id;

-- The same query as anybody writes it, with the filter at the very end.
EXPLAIN ANALYZE
SELECT COUNT(*) AS purchases, SUM(duration_seconds) AS seconds
FROM (
    SELECT f.event_type, s.duration_seconds
    FROM gold.fact_events AS f
    JOIN gold.dim_sessions AS s ON f.session_id = s.session_id AND f.user_id = s.user_id
)
WHERE event_type = 'purchase';
