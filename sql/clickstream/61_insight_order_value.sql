-- gold.order_value: what an order is worth. An order is a session with at least one purchase.
--
-- One row; without any order its amounts are NULL.

CREATE OR REPLACE TABLE gold.order_value
COMMENT 'Value of an order (a session with a purchase), over all orders'
AS
SELECT
    COUNT(*) AS orders,
    CAST(COALESCE(SUM(purchase_count), 0) AS BIGINT) AS items,
    CAST(COALESCE(SUM(total_spent), 0) AS DECIMAL(18, 2)) AS revenue,
    CAST(SUM(total_spent) / COUNT(*) AS DECIMAL(18, 2)) AS avg_order_value,
    CAST(MEDIAN(total_spent) AS DECIMAL(18, 2)) AS median_order_value,
    MIN(total_spent) AS smallest_order,
    MAX(total_spent) AS largest_order,
    CAST(SUM(purchase_count) AS DOUBLE) / COUNT(*) AS items_per_order
FROM gold.session_summary
WHERE has_purchased;

SELECT
    orders, items, revenue, avg_order_value, median_order_value, smallest_order, largest_order,
    CAST(items_per_order AS DECIMAL(9, 2)) AS items_per_order
FROM gold.order_value;
