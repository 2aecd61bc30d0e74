-- bronze_customers: the customers as they were delivered.

CREATE OR REPLACE TABLE dev.customer_personality.bronze_customers
COMMENT 'Raw customers, exactly as delivered'
AS
SELECT * FROM read_files(${source});
