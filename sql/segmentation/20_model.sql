-- KMeans on scaled behaviour. Scaling makes a session weigh as much as a euro; the means and deviations are learned here and kept in the model.

CREATE OR REPLACE MODEL segmentation.user_value
TRANSFORM (
    ML.STANDARD_SCALER(ln(1 + sessions)) OVER () AS sessions,
    ML.STANDARD_SCALER(ln(1 + views)) OVER () AS views,
    ML.STANDARD_SCALER(ln(1 + purchases)) OVER () AS purchases,
    ML.STANDARD_SCALER(ln(1 + CAST(total_spent AS DOUBLE))) OVER () AS spent,
    ML.STANDARD_SCALER(ln(1 + average_session_seconds)) OVER () AS seconds
)
OPTIONS (model_type = 'kmeans', num_clusters = ${clusters}, seed = ${seed})
AS
SELECT sessions, views, purchases, total_spent, average_session_seconds FROM segmentation.user_metrics;

SELECT * FROM ML.EVALUATE(MODEL segmentation.user_value);
