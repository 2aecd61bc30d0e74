-- How many segments? KMeans on the first three components for 2 to 8 clusters, in one statement.

CREATE OR REPLACE MODEL dev.customer_personality.elbow
OPTIONS (model_type = 'kmeans', num_clusters = HPARAM_RANGE(2, 8), seed = ${seed})
AS
SELECT principal_component_1, principal_component_2, principal_component_3 FROM dev.customer_personality.component_scores;

SELECT
    hyperparameters['num_clusters'] AS num_clusters,
    round(training_loss, 1) AS cost,
    round(hparam_tuning_evaluation_metrics['silhouette'], 4) AS silhouette,
    round(hparam_tuning_evaluation_metrics['davies_bouldin_index'], 4) AS davies_bouldin_index,
    is_optimal
FROM ML.TRIAL_INFO(MODEL dev.customer_personality.elbow)
ORDER BY trial_id;
