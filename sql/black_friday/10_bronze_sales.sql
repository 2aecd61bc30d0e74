-- black_friday.bronze_sales: the sales as they were delivered.

CREATE OR REPLACE TABLE black_friday.bronze_sales
COMMENT 'Raw sales, exactly as delivered'
AS
SELECT * FROM read_files(${source});
