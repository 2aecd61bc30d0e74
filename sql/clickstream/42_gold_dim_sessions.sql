-- gold.dim_sessions: the session attributes that the facts are sliced by.
--
-- Key: (session_id, user_id), as in gold.session_summary. Join both columns with the facts.

CREATE OR REPLACE TABLE gold.dim_sessions
COMMENT 'One row per (session_id, user_id)'
AS
SELECT
    session_id,
    user_id,
    session_start,
    session_end,
    duration_seconds,
    has_purchased
FROM gold.session_summary;
