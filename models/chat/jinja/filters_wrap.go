package jinja

func wordWrap(r *rendering, a []Value) Value {
	raise("NotImplementedError", "the filter wordwrap")
	return nil
}

func urlize(r *rendering, a []Value) Value {
	raise("NotImplementedError", "the filter urlize")
	return nil
}

func (r *rendering) prettyPrint(v Value) string {
	raise("NotImplementedError", "the filter pprint")
	return ""
}
