SELECT brand, count(*) AS purchases, CAST(sum(price) AS DECIMAL(18, 2)) AS revenue
FROM fact JOIN dim_products USING (product_id)
WHERE event_type = 'purchase'
GROUP BY brand
ORDER BY revenue DESC, brand
LIMIT 20
