-- From dev to staging to prod. Each step is taken only when its promises hold; the run stops before anything of the next catalog has changed.

ASSERT (SELECT COUNT(*) FROM dev.customer_personality.segmented_customers) = (SELECT COUNT(*) FROM dev.customer_personality.customers)
    AS 'every customer is in one segment';
ASSERT (SELECT COUNT(*) FROM dev.customer_personality.segment_profiles) = ${clusters}
    AS 'there are as many segments as asked for';
ASSERT (SELECT MIN(percent_customers) FROM dev.customer_personality.segment_profiles) >= 1
    AS 'no segment is smaller than one customer in a hundred';

CREATE OR REPLACE TABLE staging.customer_personality.segmented_customers
COMMENT 'Customers with their segment, from 1'
AS SELECT * FROM dev.customer_personality.segmented_customers;
CREATE OR REPLACE TABLE staging.customer_personality.segment_profiles
COMMENT 'One row per segment: size, averages, description'
AS SELECT * FROM dev.customer_personality.segment_profiles;

ASSERT (SELECT SUM(customers) FROM staging.customer_personality.segment_profiles)
     = (SELECT COUNT(*) FROM staging.customer_personality.segmented_customers)
    AS 'the profiles in staging count every customer in staging';

CREATE OR REPLACE TABLE prod.customer_personality.segmented_customers
COMMENT 'Customers with their segment, from 1'
AS SELECT * FROM staging.customer_personality.segmented_customers;
CREATE OR REPLACE TABLE prod.customer_personality.segment_profiles
COMMENT 'One row per segment: size, averages, description'
AS SELECT * FROM staging.customer_personality.segment_profiles;
