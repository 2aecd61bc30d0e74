-- bronze.events: the raw events as they came.
--
-- Nothing is parsed, repaired or dropped here, so every later rule can be changed and re-run without the source files.
-- Parquet keeps the types it has. CSV is read as text: guessing types from the first rows would make a malformed value
-- further down fail the load, while as text it arrives here and the cleaning decides about it.

CREATE OR REPLACE TABLE bronze.events
COMMENT 'Raw clickstream events as delivered: nothing parsed, repaired or dropped'
AS
SELECT
    event_time,
    event_type,
    product_id,
    category_id,
    category_code,
    brand,
    price,
    user_id,
    user_session
FROM read_files(${source}, header => true, all_strings => true);
