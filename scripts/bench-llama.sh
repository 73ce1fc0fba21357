#!/bin/sh
# The comparison of docs/performance.md: this project and llama.cpp on the same
# GGUF file, the same threads, turn by turn; medians and ratios.
#
#   scripts/bench-llama.sh LLAMA_BIN MODEL.gguf [ROUNDS]
#
# LLAMA_BIN holds llama-bench and llama-server. THREADS (2) and BIN (bin) may be
# set. Each round has prompts of its own, so that no cache of prompts helps.
set -eu
llama=$1 model=$2 rounds=${3:-3}
threads=${THREADS:-2} bin=${BIN:-bin}
work=$(mktemp -d)
trap 'kill $servers 2>/dev/null || true; rm -rf "$work"' EXIT
servers=
figures=$work/figures

# note SIDE NAME FIGURE
note() { printf '%s %s %s\n' "$1" "$2" "$3" >> "$figures"; }

round=0
while [ $round -lt "$rounds" ]; do
	round=$((round + 1))
	"$llama/llama-bench" -m "$model" -t "$threads" -p 512 -n 64 -r 1 -o csv 2>/dev/null | tr -d '"' |
		awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
			{ print ($(at["n_prompt"]) > 0 ? "prefill" : "decode"), $(at["avg_ts"]) }' |
		while read -r name value; do note theirs "$name" "$value"; done
	"$bin/peft-serve" bench --base "$model" --threads "$threads" --repetitions 1 |
		awk '$1 == "prefill" || $1 == "decode" { print $1, $3 }' |
		while read -r name value; do note ours "$name" "$value"; done
done

"$bin/peft-serve" bench --base "$model" --adapters 8 --repetitions 1 --generate 1 --keep "$work/adapters" > /dev/null
loras=
for i in 0 1 2 3 4 5 6 7; do
	"$bin/peft-train" convert "$work/adapters/bench-$i" "$work/bench-$i.gguf" --base "$model" > /dev/null
	loras="$loras,$work/bench-$i.gguf:0"
done
"$bin/peft-serve" --base "$model" --adapters "$work/adapters" --addr 127.0.0.1:18081 --threads "$threads" > /dev/null 2>&1 &
servers=$!
"$llama/llama-server" -m "$model" -t "$threads" -np 8 -c 4096 --host 127.0.0.1 --port 18082 --lora-scaled "${loras#,}" > /dev/null 2>&1 &
servers="$servers $!"
for port in 18081 18082; do
	until curl -sf "http://127.0.0.1:$port/health" > /dev/null; do sleep 0.2; done
done
round=0
while [ $round -lt "$rounds" ]; do
	round=$((round + 1))
	for side in ours theirs; do
		port=18081 field=
		if [ $side = theirs ]; then port=18082 field=--lora-field; fi
		"$bin/peft-serve" bench --url "http://127.0.0.1:$port" --adapters 8 $field --seed $round --repetitions 1 |
			awk '/of base|at once/ { next } { sub("same adapter", "same"); sub("8 adapters", "mixed") }
				$1 == "base" || $1 == "same" || $1 == "mixed" { print $1, $2; print $1 "-last-ms", $(NF - 1) }' |
			while read -r name value; do note $side "8-requests-$name" "$value"; done
	done
done

sort -k2,2 -k1,1 -k3,3n "$figures" | awk -v model="$model" -v rounds="$rounds" '
	{ key = $2 " " $1; n[key]++; value[key, n[key]] = $3; names[$2] }
	function median(key) { return n[key] % 2 ? value[key, (n[key] + 1) / 2] : (value[key, n[key] / 2] + value[key, n[key] / 2 + 1]) / 2 }
	END {
		print "| " model ", medians of " rounds " | ours | llama.cpp | ratio |"
		print "|---|---|---|---|"
		for (name in names) {
			a = median(name " ours"); b = median(name " theirs")
			printf "| %s | %.0f | %.0f | %.2f |\n", name, a, b, b ? a / b : 0 | "sort"
		}
	}'
