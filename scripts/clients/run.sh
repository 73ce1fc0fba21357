#!/bin/sh
# Installs other people's clients, pinned, each kind in an environment of its own, and
# runs a committed set of calls by each against a server on the base that is built in.
# Prints a table; ends with 1 where a call fails.
# CLIENTS= are the kinds (openai vllm frameworks huggingface llamaindex proxy harness
# node), of which vllm has what vLLM's own tests ask (docs/vllm-tests.md); SERVER= is a
# binary that has been built; ENVIRONMENTS= is where the environments are; TORCH= is a
# folder of site-packages whose PyTorch is used by harness, in place of one of its own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
environments=${ENVIRONMENTS:-"$here/../../.venv/clients"}
server=${SERVER:-}
pid=
trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$work"' EXIT INT TERM
if [ -z "$server" ]; then
	server=$work/peft-serve
	(cd "$here/../.." && CGO_ENABLED=0 go build -trimpath -o "$server" ./cmd/peft-serve)
fi
# The built-in base's template has no place for tools: an adapter brings one that has.
mkdir -p "$work/adapters/tools" "$work/more/json" "$environments"
cp "$here"/../../builtin/adapters/json/adapter_* "$work/more/json/" # to be loaded by its path
cp "$here"/../../builtin/adapters/json/adapter_* "$work/adapters/tools/"
cp "$here/tools.jinja" "$work/adapters/tools/chat_template.jinja"
"$server" --addr 127.0.0.1:0 --adapters "$work/adapters" --allow-path "$work/more" --log-format json >"$work/log" 2>&1 &
pid=$!
address=
for _ in $(seq 300); do
	address=$(grep -o 'http://127\.0\.0\.1:[0-9]*' "$work/log" | head -n 1 || true)
	if [ -n "$address" ] && curl -sf "$address/ready" >"$work/ready" 2>&1; then break; fi
	sleep 0.2
done
[ -n "$address" ] || { cat "$work/log"; exit 1; }
export PEFT_SERVE="$address" ADAPTER_FOLDER="$work/more/json" LITELLM_LOCAL_MODEL_COST_MAP=True # which it fetches otherwise
: >"$work/results"
failed=0
for kind in ${CLIENTS:-openai vllm frameworks huggingface llamaindex proxy harness node}; do
	if [ "$kind" = node ]; then
		command -v npm >"$work/npm" || { echo "npm is not there: openai-node is left out" >&2; continue; }
		mkdir -p "$environments/node"
		cp "$here/package.json" "$here/openai_calls.mjs" "$environments/node/"
		(cd "$environments/node" && npm install --silent --no-audit --no-fund && node openai_calls.mjs) >>"$work/results" || failed=1
		continue
	fi
	environment=$kind
	[ "$kind" != vllm ] || environment=openai
	python=$environments/$environment/bin/python
	if ! "$python" -m pip --version >"$work/pip" 2>&1; then # not there, or not whole
		python3 -m venv --clear "$environments/$environment" || { failed=1; continue; }
	fi
	if [ "$kind" = harness ] && [ -n "${TORCH:-}" ]; then # pip finds it there, and installs none
		echo "$TORCH" >"$("$python" -c 'import site; print(site.getsitepackages()[0])')/torch.pth"
	fi
	"$python" -m pip install --quiet -r "$here/requirements-$environment.txt" || { failed=1; continue; } # which it says
	PYTHONPATH=$here "$python" "$here/${kind}_calls.py" >>"$work/results" || failed=1
done
python3 "$here/table.py" "$work/results" || failed=1
exit $failed
