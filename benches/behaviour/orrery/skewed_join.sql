SELECT count(*) AS rows, sum(e.price) AS price, sum(p.score) AS scores
FROM (SELECT CASE WHEN product_id % 2 = 0 THEN 0 ELSE user_id END AS customer, price FROM ${events}) AS e
JOIN ${people} AS p ON e.customer = p.customer;
