#!/usr/bin/env bash
# Builds Orrery, generates a clickstream, runs the pipeline on it and shows the insights. Needs Rust and a C compiler, nothing else.
#   scripts/quickstart.sh [EVENTS]     default 1,000,000 events
set -euo pipefail
cd "$(dirname "$0")/.."
events="${1:-1000000}"
cargo build --release --locked -p orrery
orrery="${CARGO_TARGET_DIR:-target}/release/orrery"
"$orrery" generate clickstream --events "$events" --out data/clickstream --overwrite
"$orrery" run sql/clickstream --set source=data/clickstream
echo
echo "The tables are in ./warehouse. Look around with:"
echo "  $orrery sql -c 'SHOW TABLES IN gold'"
echo "  $orrery sql"
