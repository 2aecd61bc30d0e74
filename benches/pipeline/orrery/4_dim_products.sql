-- The query of sql/clickstream/41_gold_dim_products.sql.
CREATE OR REPLACE TABLE bench.dim_products AS
SELECT
    product_id,
    COALESCE(
        LAST_VALUE(brand ORDER BY event_time, brand) FILTER (WHERE brand <> 'unknown_brand'),
        'unknown_brand'
    ) AS brand,
    COALESCE(
        LAST_VALUE(category_code ORDER BY event_time, category_code) FILTER (WHERE category_code <> 'uncategorized'),
        'uncategorized'
    ) AS category_code,
    AVG(price) AS avg_price,
    COUNT(*) FILTER (WHERE event_type = 'view') AS total_views
FROM bench.clean
GROUP BY product_id;
