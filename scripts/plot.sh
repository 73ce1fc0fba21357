#!/bin/sh
# Draws docs/performance.svg and docs/adapters.svg from the figures in the .csv files beside them:
# scripts/plot.sh
set -eu
cd "$(dirname "$0")/.."
awk '
	BEGIN {
		split("F32 F16 Q8_0 Q4_0", formats, " ")
		groups[1] = "8 requests, base alone"; groups[2] = "8 requests, 8 adapters"
		sides[1] = "peft-serve"; sides[2] = "llama.cpp"
		colours[1] = "#2f81f7"; colours[2] = "#9a9fa6"
	}
	NR == 1 { next }
	{ gsub(/"/, ""); n = split($0, field, ","); format = field[n-2]; measure = field[1]
	  for (i = 2; i <= n-3; i++) measure = measure "," field[i]
	  value[measure, format, 1] = field[n-1]; value[measure, format, 2] = field[n] }
	function text(x, y, size, anchor, what) {
		printf "<text x=\"%g\" y=\"%g\" font-size=\"%g\" text-anchor=\"%s\" fill=\"#848d97\">%s</text>\n", x, y, size, anchor, what
	}
	END {
		width = 760; height = 290; floor = 238; most = 600; tall = 180
		printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\">\n", width, height
		text(16, 24, 14, "start", "Tokens/s of 8 concurrent requests, SmolLM2-135M, two threads")
		for (s = 1; s <= 2; s++) {
			printf "<rect x=\"%d\" y=\"12\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", 520 + 120 * (s - 1), colours[s]
			text(538 + 120 * (s - 1), 23, 13, "start", sides[s])
		}
		printf "<line x1=\"16\" y1=\"%d\" x2=\"744\" y2=\"%d\" stroke=\"#848d97\"/>\n", floor, floor
		for (g = 1; g <= 2; g++) {
			left = 24 + 368 * (g - 1)
			text(left + 176, floor + 42, 14, "middle", groups[g])
			for (f = 1; f <= 4; f++) {
				x = left + 88 * (f - 1)
				text(x + 37, floor + 18, 12, "middle", formats[f])
				for (s = 1; s <= 2; s++) {
					v = value[groups[g], formats[f], s]
					if (v == "") { print "no figure for " groups[g] ", " formats[f] > "/dev/stderr"; exit 1 }
					h = tall * v / most
					printf "<rect x=\"%g\" y=\"%g\" width=\"36\" height=\"%g\" fill=\"%s\"/>\n", x + 38 * (s - 1), floor - h, h, colours[s]
					text(x + 18 + 38 * (s - 1), floor - h - 5, 12, "middle", v)
				}
			}
		}
		print "</svg>"
	}' docs/performance.csv > docs/performance.svg

awk -F, '
	function text(x, y, size, anchor, what) {
		printf "<text x=\"%g\" y=\"%g\" font-size=\"%g\" text-anchor=\"%s\" fill=\"#848d97\">%s</text>\n", x, y, size, anchor, what
	}
	NR == 1 { next }
	{ if (!($1 in left)) { left[$1] = 24 + 368 * groups++; drawn[groups] = $1 }
	  x = left[$1] + 88 * bars[$1]++; at[NR] = x; count[NR] = $2; value[NR] = $3; last = NR
	  if ($3 > most) most = $3 }
	END {
		floor = 238; tall = 180
		printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 290\" font-family=\"sans-serif\">\n"
		text(16, 24, 14, "start", "Tokens a second of a processor by the number of adapters, SmolLM2-135M, 32 clients")
		printf "<line x1=\"16\" y1=\"%d\" x2=\"744\" y2=\"%d\" stroke=\"#848d97\"/>\n", floor, floor
		for (g = 1; g <= groups; g++) text(left[drawn[g]] + 176, floor + 42, 14, "middle", "drawn " drawn[g])
		for (i = 2; i <= last; i++) {
			h = tall * value[i] / most
			printf "<rect x=\"%g\" y=\"%g\" width=\"74\" height=\"%g\" fill=\"#2f81f7\"/>\n", at[i], floor - h, h
			text(at[i] + 37, floor - h - 5, 12, "middle", value[i])
			text(at[i] + 37, floor + 18, 12, "middle", count[i])
		}
		print "</svg>"
	}' docs/adapters.csv > docs/adapters.svg
