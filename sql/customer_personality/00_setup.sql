-- Where the customers are, and which rules apply.
--
--     orrery run sql/customer_personality --set source=/data/marketing_campaign.csv

-- A file, a glob or a folder of Parquet or CSV with the columns of the Customer Personality Analysis data set; typed columns and text give the same tables.
SET source = 'data/customer_personality';

-- The day from which ages and years as a customer are counted: the data are of 2014.
SET today = DATE '2014-12-31';

-- How many segments; 40_model_elbow shows what other numbers would give.
SET clusters = 4;
SET seed = 42;

-- Made in dev, looked at in staging, used in prod.
CREATE CATALOG IF NOT EXISTS staging COMMENT 'What is about to be used';
CREATE CATALOG IF NOT EXISTS prod COMMENT 'What is used';
CREATE SCHEMA IF NOT EXISTS dev.customer_personality COMMENT 'Customers, what they buy, and their segments';
CREATE SCHEMA IF NOT EXISTS staging.customer_personality;
CREATE SCHEMA IF NOT EXISTS prod.customer_personality;
