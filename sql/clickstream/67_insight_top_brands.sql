-- gold.top_brands: all brands, ranked by revenue, with their share of it.

CREATE OR REPLACE TABLE gold.top_brands
COMMENT 'Brands ranked by revenue'
AS
WITH brands AS (
    SELECT
        brand,
        COUNT(*) AS products,
        CAST(SUM(views) AS BIGINT) AS views,
        CAST(SUM(purchases) AS BIGINT) AS purchases,
        CAST(SUM(revenue) AS DECIMAL(18, 2)) AS revenue
    FROM gold.product_performance
    GROUP BY brand
)
SELECT
    CAST(ROW_NUMBER() OVER (ORDER BY revenue DESC, brand) AS BIGINT) AS rank,
    brand,
    products,
    views,
    purchases,
    revenue,
    100.0 * revenue / NULLIF(SUM(revenue) OVER (), 0) AS revenue_percent
FROM brands;

SELECT rank, brand, products, views, purchases, revenue, CAST(revenue_percent AS DECIMAL(9, 2)) AS revenue_percent
FROM gold.top_brands
ORDER BY rank
LIMIT 10;
