CREATE OR REPLACE TABLE bench.top_brands AS
SELECT brand, COUNT(*) AS purchases, CAST(SUM(price) AS DECIMAL(18, 2)) AS revenue
FROM bench.fact JOIN bench.dim_products USING (product_id)
WHERE event_type = 'purchase'
GROUP BY brand
ORDER BY revenue DESC, brand
LIMIT 20;
