-- Where the sales are, and which rules apply.
--
--     orrery run sql/black_friday --set source=/data/black_friday/train.csv

-- A file, a glob or a folder of Parquet or CSV with the twelve columns of the Black Friday data set. Typed columns and text give the same tables.
SET source = 'data/black_friday';

-- Customers are told apart in so many segments. The elbow of 40_model_elbow shows what other numbers would cost.
SET clusters = 5;

-- Every random choice of the models.
SET seed = 42;

CREATE SCHEMA IF NOT EXISTS black_friday COMMENT 'Black Friday sales: customers, segments and recommendations';
