SELECT
    product_id,
    coalesce((max({'t': event_time, 'v': brand}) FILTER (brand <> 'unknown_brand')).v, 'unknown_brand') AS brand,
    coalesce((max({'t': event_time, 'v': category_code}) FILTER (category_code <> 'uncategorized')).v, 'uncategorized')
        AS category_code,
    avg(price) AS avg_price,
    count(*) FILTER (event_type = 'view') AS total_views
FROM clean
GROUP BY product_id
