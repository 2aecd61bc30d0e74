-- customers: typed, with an age and with spending added up.
--
-- A customer without an income cannot be placed and is left out. One income is a typing error of 666,666 and some customers were born before 1901: incomes
-- and ages are capped at the 95th percentile, which keeps the customer and takes the weight off the error.

CREATE OR REPLACE TABLE dev.customer_personality.customers
COMMENT 'One row per customer with a known income'
AS
WITH typed AS (
    SELECT
        TRY_CAST("ID" AS BIGINT) AS customer_id,
        TRY_CAST("Year_Birth" AS INT) AS year_birth,
        COALESCE("Education", 'unknown') AS education,
        COALESCE("Marital_Status", 'unknown') AS marital_status,
        TRY_CAST("Income" AS DOUBLE) AS income,
        COALESCE(TRY_CAST("Kidhome" AS INT), 0) + COALESCE(TRY_CAST("Teenhome" AS INT), 0) AS children,
        -- Day, month, year.
        COALESCE(
            TRY_CAST(
                substr(CAST("Dt_Customer" AS VARCHAR), 7, 4) || '-' || substr(CAST("Dt_Customer" AS VARCHAR), 4, 2) || '-'
                || substr(CAST("Dt_Customer" AS VARCHAR), 1, 2) AS DATE
            ),
            TRY_CAST("Dt_Customer" AS DATE)
        ) AS customer_since,
        COALESCE(TRY_CAST("Recency" AS INT), 0) AS days_since_purchase,
        COALESCE(TRY_CAST("MntWines" AS INT), 0) AS wines,
        COALESCE(TRY_CAST("MntFruits" AS INT), 0) AS fruits,
        COALESCE(TRY_CAST("MntMeatProducts" AS INT), 0) AS meat,
        COALESCE(TRY_CAST("MntFishProducts" AS INT), 0) AS fish,
        COALESCE(TRY_CAST("MntSweetProducts" AS INT), 0) AS sweets,
        COALESCE(TRY_CAST("MntGoldProds" AS INT), 0) AS gold,
        COALESCE(TRY_CAST("NumDealsPurchases" AS INT), 0) AS deal_purchases,
        COALESCE(TRY_CAST("NumWebPurchases" AS INT), 0) AS web_purchases,
        COALESCE(TRY_CAST("NumCatalogPurchases" AS INT), 0) AS catalog_purchases,
        COALESCE(TRY_CAST("NumStorePurchases" AS INT), 0) AS store_purchases,
        COALESCE(TRY_CAST("NumWebVisitsMonth" AS INT), 0) AS web_visits,
        COALESCE(TRY_CAST("AcceptedCmp1" AS INT), 0) + COALESCE(TRY_CAST("AcceptedCmp2" AS INT), 0)
            + COALESCE(TRY_CAST("AcceptedCmp3" AS INT), 0) + COALESCE(TRY_CAST("AcceptedCmp4" AS INT), 0)
            + COALESCE(TRY_CAST("AcceptedCmp5" AS INT), 0) + COALESCE(TRY_CAST("Response" AS INT), 0) AS campaigns_accepted
    FROM dev.customer_personality.bronze_customers
)
SELECT
    customer_id,
    education,
    marital_status,
    children,
    customer_since,
    winsorize(CAST(date_part('year', ${today}) AS INT) - year_birth, 0.0, 0.95) OVER () AS age,
    (to_unixtime(${today}) - to_unixtime(customer_since)) / 86400 AS days_as_customer,
    winsorize(income, 0.0, 0.95) OVER () AS income,
    days_since_purchase,
    wines, fruits, meat, fish, sweets, gold,
    wines + fruits + meat + fish + sweets + gold AS total_spent,
    deal_purchases, web_purchases, catalog_purchases, store_purchases,
    web_purchases + catalog_purchases + store_purchases AS purchases,
    web_visits,
    campaigns_accepted
FROM typed
WHERE income IS NOT NULL AND customer_id IS NOT NULL AND year_birth IS NOT NULL;

ASSERT 0 = (SELECT COUNT(*) FROM (SELECT customer_id FROM dev.customer_personality.customers GROUP BY customer_id HAVING COUNT(*) > 1))
    AS 'every customer_id is unique';
ASSERT 0 = (SELECT COUNT(*) FROM dev.customer_personality.customers WHERE income < 0 OR age < 0 OR total_spent < 0)
    AS 'no income, age or spending is negative';
