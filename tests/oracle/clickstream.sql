-- What every table of sql/clickstream must contain, computed by DuckDB straight from the raw events.
--
-- Written from the definitions in sql/clickstream/README.md, not from the scripts, and by other means where there are
-- any: DISTINCT ON instead of ROW_NUMBER, maxima of structs instead of LAST_VALUE, integers of cents instead of
-- decimals, every insight from the clean events instead of from the tables below it. compare.py supplies the view
-- raw and the variables first_day, last_day and price_cap; each "-- table NAME key COLUMNS" line names the query that follows.

CREATE TEMP TABLE parsed AS
SELECT
    try_strptime(event_time, ['%Y-%m-%d %H:%M:%S UTC', '%Y-%m-%d %H:%M:%S']) AS time_or_null,
    TRY_CAST(price AS DOUBLE) AS price_or_null,
    TRY_CAST(user_id AS BIGINT) AS user_or_null,
    TRY_CAST(category_id AS BIGINT) AS category_or_null,
    *
FROM raw;

CREATE TEMP TABLE clean AS
WITH keyed AS (
    SELECT
        ifnull(time_or_null, getvariable('first_day')::TIMESTAMP) AS event_time,
        if(list_contains(['view', 'cart', 'purchase'], event_type), event_type, 'unknown') AS event_type,
        ifnull(product_id::VARCHAR, 'unknown_product') AS product_id,
        ifnull(user_or_null, -999999) AS user_id,
        CASE
            WHEN price_or_null IS NULL OR isnan(price_or_null) OR price_or_null < 0 THEN 0
            WHEN price_or_null > getvariable('price_cap') THEN getvariable('price_cap') * 100
            ELSE round(price_or_null * 100)
        END::BIGINT AS cents,
        category_or_null, category_code, brand, user_session
    FROM parsed
)
SELECT DISTINCT ON (event_time, user_id, product_id, event_type, cents)
    event_time,
    event_type,
    product_id,
    ifnull(category_or_null, -1) AS category_id,
    ifnull(category_code, 'uncategorized') AS category_code,
    ifnull(brand, 'unknown_brand') AS brand,
    cents,
    user_id,
    ifnull(user_session, 'unknown_session_' || user_id::VARCHAR) AS user_session
FROM keyed
WHERE event_time::DATE BETWEEN getvariable('first_day')::DATE AND getvariable('last_day')::DATE
ORDER BY event_time, user_id, product_id, event_type, cents,
    user_session NULLS LAST, category_or_null NULLS LAST, category_code NULLS LAST, brand NULLS LAST;

-- Money: cents to a decimal, a quotient of cents rounded half up, and one cut off at six digits.
CREATE TEMP MACRO money(cents) AS (cents::DECIMAL(20, 0) * 0.01::DECIMAL(3, 2))::DECIMAL(18, 2);
CREATE TEMP MACRO money_each(cents, n) AS money((2 * cents::HUGEINT + n) // (2 * n));
CREATE TEMP MACRO money_cut(cents, n) AS ((cents::HUGEINT * 10000 // n)::DECIMAL(20, 0) * 0.000001::DECIMAL(7, 6));
CREATE TEMP MACRO percent_of(part, whole) AS 100 * part::DOUBLE / nullif(whole, 0)::DOUBLE;

-- Latest known value: the greatest (time, value) pair that has a value.
CREATE TEMP TABLE latest AS
SELECT
    product_id,
    ifnull((max({'at': event_time, 'what': brand}) FILTER (brand != 'unknown_brand')).what, 'unknown_brand') AS brand,
    ifnull((max({'at': event_time, 'what': category_code}) FILTER (category_code != 'uncategorized')).what, 'uncategorized')
        AS category_code
FROM clean GROUP BY ALL;

CREATE TEMP TABLE orders AS
SELECT user_id, user_session, count(*) AS items, sum(cents) AS cents
FROM clean WHERE event_type = 'purchase' GROUP BY ALL;

CREATE TEMP TABLE visits AS
SELECT user_id, user_session, min(event_time) AS first_event, max(event_time) AS last_event, count(*) AS events,
    date_diff('second', first_event, last_event) AS seconds,
    bool_or(event_type = 'purchase') AS bought,
    coalesce(sum(cents) FILTER (event_type = 'purchase'), 0) AS cents
FROM clean GROUP BY ALL;

-- table bronze.events key
SELECT event_time, event_type, product_id, category_id, category_code, brand, price, user_id, user_session FROM raw;

-- table silver.events_clean key event_time, user_id, product_id, event_type, price
SELECT
    event_time, event_type, product_id, category_id, category_code, brand, money(cents)::DECIMAL(10, 2) AS price, user_id,
    user_session, event_time::DATE AS event_date, hour(event_time)::INTEGER AS event_hour
FROM clean;

-- table silver.data_quality key line
WITH
counted AS (
    SELECT
        (SELECT count(*) FROM raw) AS raw_rows,
        (SELECT count(*) FROM clean) AS clean_rows,
        (SELECT count(*) FROM parsed
          WHERE time_or_null::DATE NOT BETWEEN getvariable('first_day')::DATE AND getvariable('last_day')::DATE) AS outside
),
report(line, topic, item, rule, row_count) AS (
    SELECT 1, 'volume', 'raw rows', 'as delivered', raw_rows FROM counted UNION ALL
    SELECT 2, 'volume', 'outside the period', 'dropped', outside FROM counted UNION ALL
    SELECT 3, 'volume', 'duplicates', 'dropped: same time, user, product, type and price', raw_rows - outside - clean_rows
    FROM counted UNION ALL
    SELECT 4, 'volume', 'clean rows', 'kept', clean_rows FROM counted UNION ALL
    SELECT 11, 'null', 'event_time', 'start of the first day', (SELECT count(*) FROM raw WHERE event_time IS NULL) UNION ALL
    SELECT 12, 'null', 'event_type', 'unknown', (SELECT count(*) FROM raw WHERE event_type IS NULL) UNION ALL
    SELECT 13, 'null', 'product_id', 'unknown_product', (SELECT count(*) FROM raw WHERE product_id IS NULL) UNION ALL
    SELECT 14, 'null', 'category_id', '-1', (SELECT count(*) FROM raw WHERE category_id IS NULL) UNION ALL
    SELECT 15, 'null', 'category_code', 'uncategorized', (SELECT count(*) FROM raw WHERE category_code IS NULL) UNION ALL
    SELECT 16, 'null', 'brand', 'unknown_brand', (SELECT count(*) FROM raw WHERE brand IS NULL) UNION ALL
    SELECT 17, 'null', 'price', '0', (SELECT count(*) FROM raw WHERE price IS NULL) UNION ALL
    SELECT 18, 'null', 'user_id', '-999999', (SELECT count(*) FROM raw WHERE user_id IS NULL) UNION ALL
    SELECT 19, 'null', 'user_session', 'unknown_session_<user_id>', (SELECT count(*) FROM raw WHERE user_session IS NULL)
    UNION ALL
    SELECT 21, 'invalid', 'event_time not a time', 'start of the first day',
        (SELECT count(*) FROM parsed WHERE event_time IS NOT NULL AND time_or_null IS NULL) UNION ALL
    SELECT 22, 'invalid', 'event_type not listed', 'unknown',
        (SELECT count(*) FROM raw WHERE event_type IS NOT NULL AND event_type NOT IN ('view', 'cart', 'purchase')) UNION ALL
    SELECT 23, 'invalid', 'category_id not an integer', '-1',
        (SELECT count(*) FROM parsed WHERE category_id IS NOT NULL AND category_or_null IS NULL) UNION ALL
    SELECT 24, 'invalid', 'price not a number', '0',
        (SELECT count(*) FROM parsed WHERE price IS NOT NULL AND (price_or_null IS NULL OR isnan(price_or_null))) UNION ALL
    SELECT 25, 'invalid', 'price negative', '0', (SELECT count(*) FROM parsed WHERE price_or_null < 0) UNION ALL
    SELECT 26, 'invalid', 'price too high', 'lowered to the cap',
        (SELECT count(*) FROM parsed WHERE price_or_null > getvariable('price_cap') AND NOT isnan(price_or_null)) UNION ALL
    SELECT 27, 'invalid', 'user_id not an integer', '-999999',
        (SELECT count(*) FROM parsed WHERE user_id IS NOT NULL AND user_or_null IS NULL) UNION ALL
    SELECT 31, 'price', '0', 'unknown or free', (SELECT count(*) FROM clean WHERE cents = 0) UNION ALL
    SELECT 32, 'price', '0.01 to 9.99', '', (SELECT count(*) FROM clean WHERE cents BETWEEN 1 AND 999) UNION ALL
    SELECT 33, 'price', '10.00 to 49.99', '', (SELECT count(*) FROM clean WHERE cents BETWEEN 1000 AND 4999) UNION ALL
    SELECT 34, 'price', '50.00 to 99.99', '', (SELECT count(*) FROM clean WHERE cents BETWEEN 5000 AND 9999) UNION ALL
    SELECT 35, 'price', '100.00 to 499.99', '', (SELECT count(*) FROM clean WHERE cents BETWEEN 10000 AND 49999) UNION ALL
    SELECT 36, 'price', '500.00 to 999.99', '', (SELECT count(*) FROM clean WHERE cents BETWEEN 50000 AND 99999) UNION ALL
    SELECT 37, 'price', '1000.00 and more', '', (SELECT count(*) FROM clean WHERE cents >= 100000)
)
SELECT line::BIGINT AS line, topic, item, rule, row_count,
    percent_of(row_count, if(topic = 'price', clean_rows, raw_rows)) AS percent
FROM report, counted;

-- table gold.session_summary key user_id, session_id
SELECT
    user_id,
    user_session AS session_id,
    min(event_time) AS session_start,
    max(event_time) AS session_end,
    date_diff('second', min(event_time), max(event_time)) AS duration_seconds,
    count_if(event_type = 'view')::BIGINT AS view_count,
    count_if(event_type = 'cart')::BIGINT AS cart_count,
    count_if(event_type = 'purchase')::BIGINT AS purchase_count,
    count_if(event_type = 'unknown')::BIGINT AS unknown_count,
    money(sum(if(event_type = 'purchase', cents, 0))) AS total_spent,
    len(list_distinct(list(product_id)))::BIGINT AS unique_products,
    len(list_distinct(list(category_code)))::BIGINT AS unique_categories,
    if(view_count = 0, 0, purchase_count / view_count)::DOUBLE AS conversion_rate,
    bool_or(event_type = 'purchase') AS has_purchased,
    user_id = -999999 AS is_anonymous,
    bool_or(event_type = 'unknown') AS has_unknown_events
FROM clean GROUP BY user_id, user_session;

-- table gold.dim_users key user_id
WITH users AS (
    SELECT user_id, count(DISTINCT user_session) AS total_sessions, count_if(event_type = 'purchase')::BIGINT AS total_purchases,
        money(sum(if(event_type = 'purchase', cents, 0))) AS total_spent
    FROM clean GROUP BY user_id
)
SELECT *, if(total_sessions < 2, 'One-time User', if(total_sessions < 5, 'Occasional User',
    if(total_sessions < 10, 'Active User', 'Power User'))) AS user_segment
FROM users;

-- table gold.dim_products key product_id
SELECT product_id, latest.brand, latest.category_code,
    money_cut(sum(cents), count(*))::DECIMAL(14, 6) AS avg_price,
    count_if(event_type = 'view')::BIGINT AS total_views
FROM clean JOIN latest USING (product_id) GROUP BY ALL;

-- table gold.dim_sessions key session_id, user_id
SELECT user_session AS session_id, user_id, first_event AS session_start, last_event AS session_end,
    seconds AS duration_seconds, bought AS has_purchased
FROM visits;

-- table gold.dim_time key time_id
SELECT DISTINCT
    strftime(event_time, '%Y%m%d%H')::BIGINT AS time_id,
    event_time::DATE AS event_date,
    hour(event_time)::INTEGER AS event_hour,
    isodow(event_time)::INTEGER AS day_of_week,
    dayname(event_time) AS day_name,
    month(event_time)::INTEGER AS month,
    year(event_time)::INTEGER AS year
FROM clean;

-- table gold.fact_events key event_timestamp, user_id, product_id, event_type, price
SELECT
    user_id, product_id, user_session AS session_id, strftime(event_time, '%Y%m%d%H')::BIGINT AS time_id, event_type,
    money(cents)::DECIMAL(10, 2) AS price, event_time AS event_timestamp
FROM clean;

-- table gold.conversion_funnel key step
WITH steps AS (
    SELECT s.step, s.event_type, count(c.event_type) AS events,
        count(DISTINCT (c.user_id, c.user_session)) FILTER (c.event_type IS NOT NULL) AS sessions,
        count(DISTINCT c.user_id) AS users
    FROM (VALUES (1::BIGINT, 'view'), (2, 'cart'), (3, 'purchase')) AS s(step, event_type)
    LEFT JOIN clean AS c ON c.event_type = s.event_type
    GROUP BY ALL
)
SELECT s.step, s.event_type, s.events, s.sessions, s.users,
    percent_of(s.sessions, (SELECT sessions FROM steps WHERE step = 1)) AS percent_of_views,
    percent_of(s.sessions, before.sessions) AS percent_of_previous
FROM steps AS s LEFT JOIN steps AS before ON before.step = s.step - 1;

-- table gold.order_value key
SELECT
    count(*) AS orders,
    coalesce(sum(items), 0)::BIGINT AS items,
    money(coalesce(sum(cents), 0)) AS revenue,
    money_each(sum(cents), nullif(count(*), 0)) AS avg_order_value,
    -- The middle of an even number of orders is cut off, not rounded, to whole cents.
    money((list_sort(list(cents))[(count(*) + 1) // 2] + list_sort(list(cents))[count(*) // 2 + 1]) // 2) AS median_order_value,
    money(min(cents)) AS smallest_order,
    money(max(cents)) AS largest_order,
    sum(items)::DOUBLE / nullif(count(*), 0) AS items_per_order
FROM orders;

-- table gold.hourly_revenue key time_id
SELECT
    strftime(event_time, '%Y%m%d%H')::BIGINT AS time_id, event_time::DATE AS event_date, hour(event_time)::INTEGER AS event_hour,
    count(*) AS events,
    count_if(event_type = 'view')::BIGINT AS views,
    count_if(event_type = 'cart')::BIGINT AS carts,
    count_if(event_type = 'purchase')::BIGINT AS purchases,
    money(sum(if(event_type = 'purchase', cents, 0))) AS revenue
FROM clean GROUP BY 1, 2, 3;

-- table gold.daily_revenue key event_date
WITH days AS (
    SELECT event_time::DATE AS event_date, count(*) AS events, count_if(event_type = 'purchase')::BIGINT AS purchases,
        sum(if(event_type = 'purchase', cents, 0)) AS cents
    FROM clean GROUP BY 1
)
SELECT d.event_date, d.events, d.purchases, money(d.cents) AS revenue, money(sum(e.cents)) AS revenue_so_far
FROM days AS d JOIN days AS e ON e.event_date <= d.event_date
GROUP BY d.event_date, d.events, d.purchases, d.cents;

-- table gold.peak_hours key rank
WITH hours AS (
    SELECT hour(event_time)::INTEGER AS event_hour, count(*) AS events, count_if(event_type = 'view')::BIGINT AS views,
        count_if(event_type = 'purchase')::BIGINT AS purchases, money(sum(if(event_type = 'purchase', cents, 0))) AS revenue
    FROM clean GROUP BY 1
)
SELECT
    (SELECT count(*) FROM hours AS o WHERE (-o.purchases, o.event_hour) <= (-h.purchases, h.event_hour)) AS rank,
    event_hour, events, views, purchases, revenue, percent_of(purchases, views) AS purchases_per_100_views
FROM hours AS h;

-- table gold.product_performance key product_id
SELECT product_id, latest.brand, latest.category_code,
    count_if(event_type = 'view')::BIGINT AS views,
    count_if(event_type = 'cart')::BIGINT AS carts,
    count_if(event_type = 'purchase')::BIGINT AS purchases,
    money(sum(if(event_type = 'purchase', cents, 0))) AS revenue
FROM clean JOIN latest USING (product_id) GROUP BY ALL;

-- table gold.top_products key rank
WITH sold AS (
    SELECT product_id, latest.brand, latest.category_code,
        count_if(event_type = 'view')::BIGINT AS views,
        count_if(event_type = 'purchase')::BIGINT AS purchases,
        money(sum(if(event_type = 'purchase', cents, 0))) AS revenue
    FROM clean JOIN latest USING (product_id)
    GROUP BY ALL HAVING bool_or(event_type = 'purchase')
)
SELECT row_number() OVER () AS rank, * FROM (FROM sold ORDER BY revenue DESC, product_id LIMIT 100);

-- table gold.top_categories key rank
WITH ranked AS (
    SELECT latest.category_code, count(DISTINCT product_id) AS products, count_if(event_type = 'view')::BIGINT AS views,
        count_if(event_type = 'purchase')::BIGINT AS purchases, sum(if(event_type = 'purchase', cents, 0)) AS cents
    FROM clean JOIN latest USING (product_id) GROUP BY ALL
)
SELECT row_number() OVER () AS rank, category_code, products, views, purchases, money(cents) AS revenue,
    percent_of(cents, (SELECT sum(cents) FROM orders)) AS revenue_percent
FROM (FROM ranked ORDER BY cents DESC, category_code);

-- table gold.top_brands key rank
WITH ranked AS (
    SELECT latest.brand, count(DISTINCT product_id) AS products, count_if(event_type = 'view')::BIGINT AS views,
        count_if(event_type = 'purchase')::BIGINT AS purchases, sum(if(event_type = 'purchase', cents, 0)) AS cents
    FROM clean JOIN latest USING (product_id) GROUP BY ALL
)
SELECT row_number() OVER () AS rank, brand, products, views, purchases, money(cents) AS revenue,
    percent_of(cents, (SELECT sum(cents) FROM orders)) AS revenue_percent
FROM (FROM ranked ORDER BY cents DESC, brand);

-- table gold.engagement key session_date
SELECT
    first_event::DATE AS session_date,
    count(DISTINCT user_id) AS active_users,
    count(*) AS sessions,
    sum(events)::BIGINT AS events,
    count(*) / count(DISTINCT user_id) AS sessions_per_user,
    sum(events) / count(*) AS events_per_session,
    sum(seconds) / count(*) AS avg_duration_seconds,
    percent_of(count_if(events = 1), count(*)) AS bounce_percent,
    percent_of(count_if(bought), count(*)) AS conversion_percent
FROM visits GROUP BY 1;

-- table gold.session_duration key duration_group
WITH bounds(duration_group, duration, at_least, below) AS (
    VALUES (1::BIGINT, 'a single moment', 0, 1), (2, 'under 1 minute', 1, 60), (3, '1 to 5 minutes', 60, 300),
        (4, '5 to 15 minutes', 300, 900), (5, '15 to 30 minutes', 900, 1800), (6, '30 to 60 minutes', 1800, 3600),
        (7, '1 hour and more', 3600, 1000000000)
)
SELECT duration_group, duration, count(*) AS sessions, count_if(bought)::BIGINT AS purchasing_sessions,
    money(sum(cents)) AS revenue, percent_of(count_if(bought), count(*)) AS conversion_percent
FROM visits JOIN bounds ON seconds >= at_least AND seconds < below
GROUP BY ALL;

-- table gold.user_segments key user_segment
WITH users AS (
    SELECT user_id, count(*) AS sessions, count_if(bought) AS buying, sum(cents) AS cents FROM visits GROUP BY user_id
),
bought AS (SELECT user_id, count(*) AS purchases FROM clean WHERE event_type = 'purchase' GROUP BY user_id)
SELECT
    CASE
        WHEN user_id = -999999 THEN 'Anonymous'
        WHEN sessions = 1 THEN 'One-time User'
        WHEN sessions BETWEEN 2 AND 4 THEN 'Occasional User'
        WHEN sessions BETWEEN 5 AND 9 THEN 'Active User'
        ELSE 'Power User'
    END AS user_segment,
    count(*) AS users,
    sum(sessions)::BIGINT AS sessions,
    coalesce(sum(purchases), 0)::BIGINT AS purchases,
    money(sum(cents)) AS revenue,
    percent_of(sum(cents), (SELECT sum(cents) FROM orders)) AS revenue_percent,
    money_each(sum(cents), count(*)) AS revenue_per_user
FROM users LEFT JOIN bought USING (user_id)
GROUP BY 1;
