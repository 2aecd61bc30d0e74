-- Tuning 6 of 6: a cached summary of the sessions, used by several reports.
--
-- A notebook keeps the summary in memory. In a pipeline it is a table (gold.session_summary) that everybody can read; a cache serves a summary
-- that only this session needs.

CREATE OR REPLACE TEMPORARY VIEW user_sessions AS
SELECT user_id, user_session, COUNT(*) AS events, SUM(price) FILTER (WHERE event_type = 'purchase') AS spent
FROM silver.events_clean
GROUP BY user_id, user_session;

-- Without: every report aggregates all events again.
EXPLAIN ANALYZE SELECT COUNT(*) AS sessions, AVG(events) AS events FROM user_sessions;
EXPLAIN ANALYZE SELECT user_id, SUM(spent) AS spent FROM user_sessions GROUP BY user_id ORDER BY spent DESC NULLS LAST, user_id LIMIT 10;

-- With: once.
CACHE TABLE cached_sessions AS SELECT * FROM user_sessions;
EXPLAIN ANALYZE SELECT COUNT(*) AS sessions, AVG(events) AS events FROM cached_sessions;
EXPLAIN ANALYZE SELECT user_id, SUM(spent) AS spent FROM cached_sessions GROUP BY user_id ORDER BY spent DESC NULLS LAST, user_id LIMIT 10;
UNCACHE TABLE cached_sessions;
