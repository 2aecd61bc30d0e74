-- Many of the numbers say nearly the same: who spends on wine buys more of everything. Principal components of the standardised numbers keep four fifths
-- of what varies in few columns, on which distances mean something.

CREATE OR REPLACE MODEL dev.customer_personality.components
OPTIONS (model_type = 'pca', pca_explained_variance_ratio = 0.8, scale_features = TRUE)
AS
SELECT
    age, income, children, days_as_customer, days_since_purchase,
    wines, fruits, meat, fish, sweets, gold,
    deal_purchases, web_purchases, catalog_purchases, store_purchases, web_visits, campaigns_accepted
FROM dev.customer_personality.customers;

SELECT * FROM ML.PRINCIPAL_COMPONENT_INFO(MODEL dev.customer_personality.components) ORDER BY principal_component_id;

CREATE OR REPLACE TABLE dev.customer_personality.component_scores
COMMENT 'Customers in principal components'
AS
SELECT * FROM ML.PREDICT(
    MODEL dev.customer_personality.components,
    TABLE dev.customer_personality.customers,
    STRUCT(TRUE AS keep_original_columns)
);
