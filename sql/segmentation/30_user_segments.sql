-- segmentation.user_segments: every user with a cluster, and the cluster with a name.
--
-- Numbers of clusters mean nothing. Clusters are ranked by what their users spend on average: the lowest is "Low Value", the highest "High Value", all
-- between are "Medium Value".

CREATE OR REPLACE TABLE segmentation.user_segments
COMMENT 'Users with their segment'
AS
WITH clustered AS (
    SELECT centroid_id AS cluster, p.* EXCEPT (centroid_id)
    FROM (
        SELECT * EXCEPT (nearest_centroids_distance)
        FROM ML.PREDICT(MODEL segmentation.user_value, TABLE segmentation.user_metrics)
    ) AS p
),
ranked AS (
    SELECT
        cluster,
        dense_rank() OVER (ORDER BY AVG(total_spent), cluster) AS spend_rank,
        COUNT(*) OVER () AS clusters
    FROM clustered
    GROUP BY cluster
)
SELECT
    c.user_id,
    c.cluster,
    r.spend_rank,
    CASE WHEN r.spend_rank = 1 THEN 'Low Value' WHEN r.spend_rank = r.clusters THEN 'High Value' ELSE 'Medium Value' END AS segment,
    c.sessions,
    c.views,
    c.carts,
    c.purchases,
    c.total_spent,
    c.average_order,
    c.average_session_seconds,
    c.conversion_rate
FROM clustered AS c
JOIN ranked AS r ON c.cluster = r.cluster;

ASSERT (SELECT COUNT(*) FROM segmentation.user_segments) = (SELECT COUNT(*) FROM segmentation.user_metrics)
    AS 'every user is in one segment';
