-- The segments themselves: a new version of the model each time, the alias points to the one that is used.

CREATE OR REPLACE MODEL black_friday.customer_segments
OPTIONS (
    model_type = 'kmeans',
    num_clusters = ${clusters},
    standardize_features = TRUE,
    seed = ${seed}
)
AS
SELECT frequency, monetary, average_amount, distinct_products FROM black_friday.customers;

SELECT * FROM ML.EVALUATE(MODEL black_friday.customer_segments);

CREATE OR REPLACE TABLE black_friday.segmented_customers
COMMENT 'Customers with their segment, from 1'
AS
SELECT centroid_id AS segment, c.* EXCEPT (centroid_id)
FROM (
    SELECT * EXCEPT (nearest_centroids_distance)
    FROM ML.PREDICT(MODEL black_friday.customer_segments, TABLE black_friday.customers)
) AS c;
