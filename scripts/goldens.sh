#!/bin/sh
# Remakes the golden data under testdata with the pinned versions of
# PyTorch, transformers, PEFT and AdapterHub, in a virtual environment.
set -eu
python=$(command -v python3) || { echo "goldens need Python 3.11" >&2; exit 1; }
"$python" -m venv .venv
.venv/bin/pip install --quiet -r testdata/goldens/requirements.txt
.venv/bin/python testdata/goldens/make.py
.venv/bin/python testdata/goldens/configs.py
.venv/bin/python testdata/goldens/entities.py
"$python" -m venv .venv/metric
.venv/metric/bin/pip install --quiet -r training/metric/testdata/requirements.txt
.venv/metric/bin/python training/metric/testdata/goldens.py
"$python" -m venv .venv/transformers5
.venv/transformers5/bin/pip install --quiet transformers==5.24.0
.venv/transformers5/bin/python testdata/goldens/configs.py
# llama.cpp's converter, at the commit that the GGUF files were made with.
if [ ! -d .venv/llama.cpp ]; then
	git init --quiet .venv/llama.cpp
	git -C .venv/llama.cpp fetch --quiet --depth 1 https://github.com/unslothai/llama.cpp d32676d77426540327835040d5d3279728f0b4c8
	git -C .venv/llama.cpp checkout --quiet FETCH_HEAD
fi
.venv/bin/python testdata/goldens/converted.py "$PWD/.venv/llama.cpp"
.venv/bin/python testdata/goldens/ggufadapters.py "$PWD/.venv/llama.cpp"
.venv/bin/python testdata/tokenizer/stages.py
.venv/bin/python testdata/tokenizer/trained.py
.venv/bin/python kernels/testdata/route.py
jinja=models/chat/jinja
.venv/bin/python $jinja/testdata/constructs.py
.venv/bin/python $jinja/testdata/differential.py $jinja/testdata/differential.jsonl 700 1
.venv/bin/python $jinja/testdata/unicode_tables.py | gofmt >$jinja/unicode_tables.go
if [ -f .base/SmolLM2-135M-Instruct.Q4_1.gguf ]; then
	.venv/bin/python testdata/goldens/smollm2.py .base/SmolLM2-135M-Instruct.Q4_1.gguf
	.venv/bin/python testdata/goldens/smollm2_training.py .base/SmolLM2-135M-Instruct.Q4_1.gguf
	.venv/bin/python testdata/tokenizer/from_gguf.py .base/SmolLM2-135M-Instruct.Q4_1.gguf
else
	echo "SmolLM2's goldens are left as they are: fetch the base with 'make base' first"
fi
if [ -d .base/all-MiniLM-L6-v2 ]; then
	.venv/bin/python testdata/goldens/minilm.py .base/all-MiniLM-L6-v2
else
	echo "MiniLM's golden is left as it is: fetch it with 'make encoder' first"
fi
if [ -f .base/gemma-3-270m-q4_k_m.gguf ]; then
	.venv/bin/python testdata/goldens/gemma3_270m.py .base/gemma-3-270m-q4_k_m.gguf
else
	echo "Gemma 3 270M's golden is left as it is: testdata/README.md says where the file is"
fi
.venv/bin/python testdata/templates/goldens.py ../shared/cases/templates/public ${CHAT_TEMPLATES:-}
.venv/bin/python training/dataset/testdata/turns.py ../shared/cases/templates/public
"$python" -m venv .venv/sentences
.venv/sentences/bin/pip install --quiet -r testdata/goldens/requirements-sentences.txt
if [ -d .base/all-MiniLM-L6-v2 ]; then
	.venv/sentences/bin/python testdata/goldens/sentences.py .base/all-MiniLM-L6-v2
else
	.venv/sentences/bin/python testdata/goldens/sentences.py
fi
.venv/sentences/bin/python testdata/goldens/contrastive.py
.venv/sentences/bin/python testdata/goldens/sentences_gguf.py "$PWD/.venv/llama.cpp"
"$python" -m venv .venv-trl
.venv-trl/bin/pip install --quiet -r testdata/goldens/requirements-trl.txt
.venv-trl/bin/python testdata/goldens/labels.py
.venv-trl/bin/python testdata/goldens/nomicbert.py
.venv/bin/python testdata/goldens/encoders_gguf.py "$PWD/.venv/llama.cpp"
