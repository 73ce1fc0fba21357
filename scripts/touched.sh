#!/bin/sh
# Prints how many files a commit touches; goldens, with what makes them, and
# documents apart: scripts/touched.sh REF
set -eu
files=$(git show --format= --name-only "$1")
count() { printf '%s\n' "$files" | grep -c "$@" || true; }
goldens='(^|/)testdata/|^scripts/goldens\.sh$'
documents='\.md$|^docs/|^examples/'
echo "code $(count -Ev "$goldens|$documents"), goldens $(count -E "$goldens"), documents $(count -E "$documents")"
printf '%s\n' "$files" | grep -Ev "$goldens|$documents"
