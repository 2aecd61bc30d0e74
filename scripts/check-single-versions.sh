#!/usr/bin/env bash
# One copy each of the engine's foundations: two would not share types, and would double the build.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
for crate in arrow arrow-array arrow-schema parquet datafusion datafusion-common datafusion-expr datafusion-physical-plan sqlparser object_store deltalake-core; do
    versions=$(awk -v name="name = \"$crate\"" '$0 == name { getline; print $3 }' Cargo.lock | sort -u)
    if [ "$(printf '%s' "$versions" | grep -c .)" -ne 1 ]; then
        echo "error: $crate must be in Cargo.lock exactly once, found: $(echo $versions)" >&2
        failed=1
    fi
done
exit "$failed"
