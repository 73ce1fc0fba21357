"""The results of the calls as a table; ends with 1 where one fails."""

import json
import sys

rows = [json.loads(line) for line in open(sys.argv[1]) if line.startswith("{")]
print("| client | call | |\n|---|---|---|")
for r in rows:
    result = "passes" if r["fault"] is None else f"FAILS: {r['fault']}"
    print(f"| {r['client']} | {r['call']} | {result.replace('|', '/')} |")
sys.exit(any(r["fault"] is not None for r in rows))
