#!/bin/sh
# One table of every method on SST-2: what it trains, how far it comes, what it
# costs. Each method has the same steps, order and batch; the learning rates are
# those of examples/table.txt. A run that was cut off goes on where it stopped.
#
#   scripts/table.sh [STEPS] [OUTPUT]
set -eu
steps=${1:-1200}
output=${2:-dist/table}
bin=${BIN:-bin}
mkdir -p "$output"
table=$output/table.md
value() { sed -n "s/^| $2 | \(.*\) |\$/\1/p" "$1/README.md"; }

{
	echo "| method | trained parameters | accuracy | tokens/s | peak memory |"
	echo "|---|---|---|---|---|"
} > "$table"
grep -v '^#' examples/table.txt | while read -r name flags; do
	dir=$output/$name
	if [ ! -f "$dir/README.md" ]; then
		# shellcheck disable=SC2086 # flags are words
		"$bin/peft-train" run examples/sst2-lora.yaml --output "$dir" --max-steps "$steps" --resume $flags
	fi
	memory=$(value "$dir" "Peak memory")
	echo "| $name | $(value "$dir" "Trained parameters") | $(value "$dir" "Validation accuracy") | $(value "$dir" "Speed") | ${memory%%:*} |" >> "$table"
done
cat "$table"
