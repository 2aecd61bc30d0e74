-- segment_profiles: what a segment is like, and a description that follows from its averages.

CREATE OR REPLACE TABLE dev.customer_personality.segment_profiles
COMMENT 'One row per segment: size, averages, description'
AS
WITH profiles AS (
    SELECT
        segment,
        COUNT(*) AS customers,
        AVG(age) AS average_age,
        AVG(income) AS average_income,
        AVG(children) AS average_children,
        AVG(total_spent) AS average_spent,
        AVG(purchases) AS average_purchases,
        AVG(deal_purchases) AS average_deals,
        AVG(web_visits) AS average_web_visits,
        AVG(campaigns_accepted) AS average_campaigns
    FROM dev.customer_personality.segmented_customers
    GROUP BY segment
),
overall AS (
    SELECT AVG(income) AS income, AVG(total_spent) AS spent, AVG(deal_purchases) AS deals, AVG(children) AS children
    FROM dev.customer_personality.segmented_customers
)
SELECT
    p.segment,
    dense_rank() OVER (ORDER BY p.average_spent DESC) AS spend_rank,
    concat(
        CASE WHEN p.average_income >= 1.15 * o.income THEN 'high income' WHEN p.average_income <= 0.85 * o.income THEN 'low income' ELSE 'middle income' END,
        CASE WHEN p.average_spent >= 1.25 * o.spent THEN ', big spenders' WHEN p.average_spent <= 0.5 * o.spent THEN ', small baskets' ELSE ', regular buyers' END,
        CASE WHEN p.average_deals >= 1.25 * o.deals THEN ', after deals' ELSE '' END,
        CASE WHEN p.average_children >= 1.2 * o.children THEN ', with children' ELSE '' END
    ) AS description,
    p.customers,
    100.0 * p.customers / SUM(p.customers) OVER () AS percent_customers,
    p.average_age,
    p.average_income,
    p.average_children,
    p.average_spent,
    p.average_purchases,
    p.average_deals,
    p.average_web_visits,
    p.average_campaigns
FROM profiles AS p
CROSS JOIN overall AS o;

SELECT
    segment, description, customers, round(percent_customers, 1) AS percent_customers, round(average_age, 1) AS average_age,
    round(average_income, 0) AS average_income, round(average_spent, 0) AS average_spent, round(average_deals, 1) AS average_deals
FROM dev.customer_personality.segment_profiles
ORDER BY spend_rank;
