-- How many segments? One statement fits every number from 2 to 10 on the same rows.
--
-- Cost always falls with more clusters: look for the bend. Silhouette (higher is better) and Davies-Bouldin (lower is better) weigh how compact the
-- clusters are against how far apart.

CREATE OR REPLACE MODEL black_friday.customer_elbow
OPTIONS (
    model_type = 'kmeans',
    num_clusters = HPARAM_RANGE(2, 10),
    standardize_features = TRUE,
    seed = ${seed}
)
AS
SELECT frequency, monetary, average_amount, distinct_products FROM black_friday.customers;

SELECT
    trial_id,
    hyperparameters['num_clusters'] AS num_clusters,
    round(training_loss, 1) AS cost,
    round(hparam_tuning_evaluation_metrics['silhouette'], 4) AS silhouette,
    round(hparam_tuning_evaluation_metrics['davies_bouldin_index'], 4) AS davies_bouldin_index,
    is_optimal
FROM ML.TRIAL_INFO(MODEL black_friday.customer_elbow)
ORDER BY trial_id;
