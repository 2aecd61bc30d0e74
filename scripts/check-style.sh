#!/usr/bin/env bash
# House rules that clippy cannot see: a header on every file, no file too long to read, no folder that says nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
complain() { echo "error: $*" >&2; failed=1; }
while read -r file; do
    [ "$(head -c 3 "$file")" = '//!' ] || complain "$file: begins without a //! line that says why it exists"
    lines=$(wc -l <"$file")
    [ "$lines" -le 800 ] || complain "$file: $lines lines; split it by what they are about (500 is the habit, 800 the limit)"
    case "/$file" in */utils* | */common* | */helper* | */manager*) complain "$file: the name says nothing about what is in it" ;; esac
done < <(git ls-files '*.rs' | grep -v /generated/)
while read -r manifest; do
    grep -q '^\[workspace\]' "$manifest" && continue
    grep -A1 '^\[lints\]' "$manifest" | grep -q 'workspace = true' || complain "$manifest: does not inherit the workspace's lints"
done < <(git ls-files '*Cargo.toml')
exit "$failed"
