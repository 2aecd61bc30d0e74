"""The steps of the pipeline, in order, and how an engine's process reports each of them to the runner."""

import json
import sys
import time

# Step -> the columns every engine must write, in any order; types may differ in width.
STEPS = {
    "clean": "event_time event_type product_id category_id category_code brand price user_id user_session event_date event_hour",
    "sessions": "user_id session_id session_start session_end duration_seconds view_count cart_count purchase_count "
    "unknown_count total_spent unique_products unique_categories conversion_rate has_purchased is_anonymous has_unknown_events",
    "dim_users": "user_id total_sessions total_purchases total_spent user_segment",
    "dim_products": "product_id brand category_code avg_price total_views",
    "dim_time": "time_id event_date event_hour day_of_week day_name month year",
    "fact": "event_id user_id product_id session_id time_id event_type price event_timestamp",
    "revenue_by_hour": "event_date event_hour purchases revenue",
    "top_brands": "brand purchases revenue",
}


def report(event, **values):
    """One line of JSON on standard output for the runner."""
    print(json.dumps({"event": event, **values}), flush=True)


class Timed:
    """Reports the wall time of one step: `with Timed("clean"): …`."""

    def __init__(self, step):
        self.step = step

    def __enter__(self):
        self.start = time.perf_counter()

    def __exit__(self, kind, error, trace):
        if kind is None:
            report("step", step=self.step, seconds=time.perf_counter() - self.start)


def step_queries(folder):
    """(step, query) for each step, from the folder's `<step>.sql`."""
    return [(step, (folder / f"{step}.sql").read_text()) for step in STEPS]


def arguments():
    """source (folder of Parquet), out (folder to write), threads."""
    source, out, threads = sys.argv[1:4]
    return source, out, int(threads)
