#!/bin/sh
# check-release.sh VERSION: builds the committed source twice, in folders of
# different names, and compares every byte of what comes of it.
set -eu
version=$1
commit=$(git rev-parse HEAD) # of both, whatever is committed meanwhile
at=$(mktemp -d)
trap 'for copy in a another-one; do git worktree remove --force "$at/$copy" 2>/dev/null || :; done; rm -rf "$at"' EXIT
for copy in a another-one; do
	git worktree add --quiet --detach "$at/$copy" "$commit"
	(cd "$at/$copy/deploy" && ${GO:-go} run ./release -version "$version" -output "$at/$copy-dist" ${ONLY:+-only "$ONLY"})
done
diff -r "$at/a-dist" "$at/another-one-dist"
cat "$at/a-dist/SHA256SUMS"
