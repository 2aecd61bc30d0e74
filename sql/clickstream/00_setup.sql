-- Where the raw events are and which business rules apply.
--
-- Every value below can be changed without touching a script:
--     orrery run sql/clickstream --set source=/data/2019-Oct.csv.gz --set last_day=2019-10-31

-- A file, a glob or a folder of Parquet, CSV or CSV.gz with the nine REES46 columns.
SET source = 'data/clickstream';

-- Events outside these days (both included) are dropped; an event without a readable time counts at the start of the first day.
SET first_day = '2019-10-01';
SET last_day = '2020-04-30';

-- No product of this shop costs more: a higher price is a typing error and is lowered to this.
SET price_cap = 10000;

CREATE SCHEMA IF NOT EXISTS bronze COMMENT 'Raw events, exactly as they were delivered';
CREATE SCHEMA IF NOT EXISTS silver COMMENT 'Cleaned events and what the cleaning did';
CREATE SCHEMA IF NOT EXISTS gold COMMENT 'Star schema and insights';
