-- gold.product_performance: what every product was looked at and sold for; gold.top_products: the hundred best sellers.
--
-- The facts are added up per product first, so the join with the dimension is over products, not over events.
-- Categories and brands are then added up from here: a product has exactly one of each.

CREATE OR REPLACE TABLE gold.product_performance
COMMENT 'Views, carts, purchases and revenue per product'
AS
WITH sales AS (
    SELECT
        product_id,
        COUNT(*) FILTER (WHERE event_type = 'view') AS views,
        COUNT(*) FILTER (WHERE event_type = 'cart') AS carts,
        COUNT(*) FILTER (WHERE event_type = 'purchase') AS purchases,
        SUM(price) FILTER (WHERE event_type = 'purchase') AS revenue
    FROM gold.fact_events
    GROUP BY product_id
)
SELECT
    sales.product_id,
    dim_products.brand,
    dim_products.category_code,
    sales.views,
    sales.carts,
    sales.purchases,
    CAST(COALESCE(sales.revenue, 0) AS DECIMAL(18, 2)) AS revenue
FROM sales
JOIN gold.dim_products ON dim_products.product_id = sales.product_id;

CREATE OR REPLACE TABLE gold.top_products
COMMENT 'The hundred products with the highest revenue'
AS
SELECT
    -- The product id decides between equal revenues, so the ranks are the same on every run.
    CAST(ROW_NUMBER() OVER (ORDER BY revenue DESC, product_id) AS BIGINT) AS rank,
    product_id,
    brand,
    category_code,
    views,
    purchases,
    revenue
FROM gold.product_performance
WHERE purchases > 0
ORDER BY revenue DESC, product_id
LIMIT 100;

SELECT rank, product_id, brand, category_code, views, purchases, revenue
FROM gold.top_products
ORDER BY rank
LIMIT 10;
