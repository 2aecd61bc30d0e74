-- The promises of the star schema. The run stops at the first one that does not hold and shows what it found instead.

-- Every key is unique.
ASSERT (SELECT COUNT(*) = COUNT(DISTINCT event_id) FROM gold.fact_events)
    AS 'every event_id is unique in gold.fact_events';
ASSERT (SELECT COUNT(*) = COUNT(DISTINCT user_id) FROM gold.dim_users)
    AS 'every user_id is unique in gold.dim_users';
ASSERT (SELECT COUNT(*) = COUNT(DISTINCT product_id) FROM gold.dim_products)
    AS 'every product_id is unique in gold.dim_products';
ASSERT (SELECT COUNT(*) = COUNT(DISTINCT time_id) FROM gold.dim_time)
    AS 'every time_id is unique in gold.dim_time';
ASSERT (SELECT COUNT(*) FROM gold.dim_sessions)
     = (SELECT COUNT(*) FROM (SELECT DISTINCT session_id, user_id FROM gold.dim_sessions))
    AS 'every (session_id, user_id) is unique in gold.dim_sessions';

-- Every foreign key of the facts leads to a row.
ASSERT 0 = (SELECT COUNT(*) FROM gold.fact_events AS f LEFT ANTI JOIN gold.dim_users AS d ON f.user_id = d.user_id)
    AS 'every user_id of the facts is in gold.dim_users';
ASSERT 0 = (SELECT COUNT(*) FROM gold.fact_events AS f LEFT ANTI JOIN gold.dim_products AS d ON f.product_id = d.product_id)
    AS 'every product_id of the facts is in gold.dim_products';
ASSERT 0 = (
    SELECT COUNT(*) FROM gold.fact_events AS f
    LEFT ANTI JOIN gold.dim_sessions AS d ON f.session_id = d.session_id AND f.user_id = d.user_id
) AS 'every (session_id, user_id) of the facts is in gold.dim_sessions';
ASSERT 0 = (SELECT COUNT(*) FROM gold.fact_events AS f LEFT ANTI JOIN gold.dim_time AS d ON f.time_id = d.time_id)
    AS 'every time_id of the facts is in gold.dim_time';
ASSERT 0 = (SELECT COUNT(*) FROM gold.dim_sessions AS s LEFT ANTI JOIN gold.dim_users AS d ON s.user_id = d.user_id)
    AS 'every user_id of the sessions is in gold.dim_users';

-- Nothing was lost or counted twice on the way.
ASSERT (SELECT COUNT(*) FROM gold.fact_events) = (SELECT COUNT(*) FROM silver.events_clean)
    AS 'gold.fact_events has as many rows as silver.events_clean';
ASSERT (SELECT COALESCE(SUM(view_count + cart_count + purchase_count + unknown_count), 0) FROM gold.session_summary)
     = (SELECT COUNT(*) FROM gold.fact_events)
    AS 'the counts per event type in gold.session_summary add up to the events';
ASSERT (SELECT COALESCE(SUM(total_spent), 0) FROM gold.dim_users)
     = (SELECT COALESCE(SUM(price), 0) FROM gold.fact_events WHERE event_type = 'purchase')
    AS 'total_spent in gold.dim_users adds up to the purchases';
ASSERT (SELECT COALESCE(SUM(total_views), 0) FROM gold.dim_products)
     = (SELECT COUNT(*) FROM gold.fact_events WHERE event_type = 'view')
    AS 'total_views in gold.dim_products adds up to the views';

-- Every value is inside its rules.
ASSERT 0 = (SELECT COUNT(*) FROM gold.fact_events WHERE price < 0 OR price > ${price_cap})
    AS 'every price is between 0 and the cap';
ASSERT 0 = (SELECT COUNT(*) FROM gold.session_summary WHERE duration_seconds < 0)
    AS 'no session ends before it starts';
