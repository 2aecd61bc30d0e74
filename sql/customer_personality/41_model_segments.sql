-- The segments, and every customer in one of them.

CREATE OR REPLACE MODEL dev.customer_personality.segments
OPTIONS (model_type = 'kmeans', num_clusters = ${clusters}, seed = ${seed}, n_init = 5)
AS
SELECT principal_component_1, principal_component_2, principal_component_3 FROM dev.customer_personality.component_scores;

CREATE OR REPLACE TABLE dev.customer_personality.segmented_customers
COMMENT 'Customers with their segment, from 1'
AS
SELECT
    centroid_id AS segment,
    customer_id, education, marital_status, children, age, income, days_as_customer, days_since_purchase,
    wines, fruits, meat, fish, sweets, gold, total_spent,
    deal_purchases, web_purchases, catalog_purchases, store_purchases, purchases, web_visits, campaigns_accepted
FROM ML.PREDICT(MODEL dev.customer_personality.segments, TABLE dev.customer_personality.component_scores);
