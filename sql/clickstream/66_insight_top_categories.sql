-- gold.top_categories: all categories, ranked by revenue, with their share of it.

CREATE OR REPLACE TABLE gold.top_categories
COMMENT 'Categories ranked by revenue'
AS
WITH categories AS (
    SELECT
        category_code,
        COUNT(*) AS products,
        CAST(SUM(views) AS BIGINT) AS views,
        CAST(SUM(purchases) AS BIGINT) AS purchases,
        CAST(SUM(revenue) AS DECIMAL(18, 2)) AS revenue
    FROM gold.product_performance
    GROUP BY category_code
)
SELECT
    CAST(ROW_NUMBER() OVER (ORDER BY revenue DESC, category_code) AS BIGINT) AS rank,
    category_code,
    products,
    views,
    purchases,
    revenue,
    100.0 * revenue / NULLIF(SUM(revenue) OVER (), 0) AS revenue_percent
FROM categories;

SELECT rank, category_code, products, views, purchases, revenue, CAST(revenue_percent AS DECIMAL(9, 2)) AS revenue_percent
FROM gold.top_categories
ORDER BY rank
LIMIT 10;
