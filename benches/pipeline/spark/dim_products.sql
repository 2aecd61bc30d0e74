SELECT
    product_id,
    coalesce(max(CASE WHEN brand <> 'unknown_brand' THEN struct(event_time, brand) END).brand, 'unknown_brand') AS brand,
    coalesce(
        max(CASE WHEN category_code <> 'uncategorized' THEN struct(event_time, category_code) END).category_code,
        'uncategorized'
    ) AS category_code,
    avg(price) AS avg_price,
    count_if(event_type = 'view') AS total_views
FROM clean
GROUP BY product_id
