#!/usr/bin/env bash
# Passes the tests: sets up the Python packages that read our tables back (deltalake, duckdb) and score our models (onnxruntime), then runs every test of the workspace.
# Arguments go to the test runner. Needs Rust, a C compiler and python3 with venv; uses cargo-nextest where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
python="$target/test-python"
requirements=tests/oracle/requirements.txt
if ! cmp -s "$requirements" "$python/requirements.txt"; then
    rm -rf "$python"
    if python3 -m venv "$python" && "$python/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"; then
        cp "$requirements" "$python/requirements.txt"
    else
        rm -rf "$python"
        echo "note: no Python environment; the tests that compare with other readers will say that they skip" >&2
    fi
fi
[ -x "$python/bin/python" ] && ORRERY_TEST_PYTHON="$(cd "$python/bin" && pwd)/python" && export ORRERY_TEST_PYTHON
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked --no-fail-fast "$@"
else
    cargo test --workspace --locked --no-fail-fast --lib --bins --tests "$@"
fi
cargo test --workspace --locked --doc --quiet
