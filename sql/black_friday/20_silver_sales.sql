-- black_friday.sales: one row per product that a customer bought, typed.
--
-- Product categories 2 and 3 are missing in a third and two thirds of the rows: a product need not have them, so 0 stands for "none". What has no customer,
-- no product or no amount is no sale and is left out; 25_quality counts it.

CREATE OR REPLACE TABLE black_friday.sales
COMMENT 'One row per sale; no nulls'
AS
SELECT
    TRY_CAST("User_ID" AS BIGINT) AS user_id,
    "Product_ID" AS product_id,
    CASE "Gender" WHEN 'M' THEN 'male' WHEN 'F' THEN 'female' ELSE 'unknown' END AS gender,
    COALESCE("Age", 'unknown') AS age_group,
    COALESCE(TRY_CAST("Occupation" AS INT), -1) AS occupation,
    COALESCE("City_Category", 'unknown') AS city_category,
    -- '4+' is four or more.
    COALESCE(TRY_CAST(replace(CAST("Stay_In_Current_City_Years" AS VARCHAR), '+', '') AS INT), 0) AS years_in_city,
    COALESCE(TRY_CAST("Marital_Status" AS INT), 0) = 1 AS is_married,
    COALESCE(TRY_CAST("Product_Category_1" AS INT), 0) AS category_1,
    COALESCE(TRY_CAST("Product_Category_2" AS INT), 0) AS category_2,
    COALESCE(TRY_CAST("Product_Category_3" AS INT), 0) AS category_3,
    TRY_CAST("Purchase" AS BIGINT) AS amount
FROM black_friday.bronze_sales
WHERE TRY_CAST("User_ID" AS BIGINT) IS NOT NULL
  AND "Product_ID" IS NOT NULL
  AND TRY_CAST("Purchase" AS BIGINT) IS NOT NULL;
