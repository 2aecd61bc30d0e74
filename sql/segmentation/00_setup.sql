-- Customer segments from the star schema of sql/clickstream, which has to be there: run that folder first.
--
--     orrery run sql/clickstream --set source=PATH
--     orrery run sql/segmentation

-- Segments by value: low, medium and high.
SET clusters = 3;
SET seed = 42;

CREATE SCHEMA IF NOT EXISTS segmentation COMMENT 'Users in segments by behaviour, found by KMeans';
