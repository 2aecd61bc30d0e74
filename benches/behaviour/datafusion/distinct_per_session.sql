SELECT count(*) AS sessions, sum(events) AS events, sum(products) AS products, sum(categories) AS categories
FROM (
    SELECT user_id, user_session, count(*) AS events, count(DISTINCT product_id) AS products, count(DISTINCT category_id) AS categories
    FROM events
    GROUP BY user_id, user_session
)
