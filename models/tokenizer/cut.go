package tokenizer

// Cut leaves of a text what fits into so many tokens: its beginning or, with left, its
// end.
func Cut(ids []int32, most int, left bool) []int32 {
	if left {
		return ids[len(ids)-most:]
	}
	return ids[:most]
}

// CutPair leaves of two texts what fits into so many tokens, of the longer as much less
// as need be: transformers' truncation "longest_first".
func CutPair(first, second []int32, most int, left bool) ([]int32, []int32) {
	short, long := len(first), len(second)
	swapped := short > long
	if swapped {
		short, long = long, short
	}
	if short+long <= most {
		return first, second
	}
	if long = max(short, most-short); short > most {
		long = short
	}
	if short+long > most {
		short = most / 2
		long = short + most%2
	}
	if swapped {
		short, long = long, short
	}
	return Cut(first, min(short, len(first)), left), Cut(second, min(long, len(second)), left)
}
