-- gold.dim_products: one row per product.
--
-- Brand and category of a product change over time and are missing in many events. Grouping by them too would give
-- several rows per product, and every join with the facts would count those products' events several times.
-- So the product alone is the key, and its brand and its category are those of the latest event that knows them.
-- Several events can share the latest second: the alphabetically last value decides then, so that a rerun cannot differ.

CREATE OR REPLACE TABLE gold.dim_products
COMMENT 'One row per product_id with its latest known brand and category'
AS
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
    -- Over all events of the product, each counted once.
    AVG(price) AS avg_price,
    COUNT(*) FILTER (WHERE event_type = 'view') AS total_views
FROM silver.events_clean
GROUP BY product_id;
